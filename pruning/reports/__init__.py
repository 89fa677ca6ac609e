"""Reports on one experiment: audit, summary, verdict, filters and review queues."""
