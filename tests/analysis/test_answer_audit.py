"""Findings about prompts and answers on rows written by hand."""

from __future__ import annotations

import numpy as np

from pruning.analysis import answer_audit


def test_refusals_are_found_by_how_they_begin() -> None:
    said = ["I'm sorry, but I can't help.", "As an AI language model, I ...", "I cannot assist.", "I can help.", "Sorry, I am late."]
    assert answer_audit.refusing(said).tolist() == [True, True, True, False, False]


def test_answers_that_repeat_their_prompt_but_not_those_that_quote_a_word_of_it() -> None:
    prompts = ["Write a sentence about Paris.", "Paris", "a", "", "Echo  THIS"]
    answers = ["Write a sentence about Paris. Done.", "Paris is big", "banana", "", "echo this"]
    assert answer_audit.repeating(prompts, answers).tolist() == [True, False, False, False, True]


def test_a_prompt_with_different_answers_contradicts_itself() -> None:
    prompts, answers = ["Capital?", "capital? ", "Other", "Other"], ["Paris", "Rome", "same", "Same"]
    assert answer_audit.contradicting(prompts, answers).tolist() == [True, True, False, False]


def test_what_training_and_the_base_add() -> None:
    extras = {"answer_cut": np.asarray([0.0, 1.0]), "loss0": np.asarray([2.0, 1.0]), "loss0_alone": np.asarray([1.0, 2.0])}
    found = answer_audit.found(["a?", "b?"], ["a", "b"], extras)
    assert found["whose answer lost its end to the length limit"].tolist() == [False, True]
    assert found["with IFD above 1 (the prompt makes the answer less likely)"].tolist() == [True, False]
    assert len(answer_audit.found(["a?"], ["a"], {})) == 3
