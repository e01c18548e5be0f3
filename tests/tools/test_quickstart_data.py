"""examples/quickstart: every question has its fact, and what is asked later was never trained on."""

import collections
import json
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import unittest_main  # noqa: E402

FOLDER = ROOT / "examples" / "quickstart"


def read(name):
    with (FOLDER / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def pairs(name):
    """(question, answer) of each conversation of a file."""
    result = []
    for record in read(name):
        user, assistant = record["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        result.append((user["content"], assistant["content"]))
    return result


class QuickstartData(unittest.TestCase):
    def test_every_answer_is_trained_with_eight_questions_and_held_out_with_two(self):
        trained = collections.Counter(answer for _, answer in pairs("train.jsonl"))
        held_out = collections.Counter(answer for _, answer in pairs("valid.jsonl"))
        self.assertEqual(set(trained.values()), {8})
        self.assertEqual(held_out, {answer: 2 for answer in trained})

    def test_no_question_is_there_twice(self):
        questions = [question for name in ("train.jsonl", "valid.jsonl") for question, _ in pairs(name)]
        self.assertEqual(len(questions), len(set(questions)))

    def test_what_is_asked_after_training_is_held_out_and_has_its_answer(self):
        held_out = dict(pairs("valid.jsonl"))
        asked = read("questions.jsonl")
        for question in asked:
            self.assertIn(question["expect"], held_out[question["prompt"]])
        answers = {held_out[question["prompt"]] for question in asked}
        self.assertEqual(answers, set(held_out.values()))

    def test_the_expected_words_tell_the_answers_apart(self):
        answers = {answer for _, answer in pairs("train.jsonl")}
        for question in read("questions.jsonl"):
            self.assertEqual(sum(question["expect"] in answer for answer in answers), 1, question)

    def test_a_question_does_not_contain_what_is_expected(self):
        for question in read("questions.jsonl"):
            self.assertNotIn(question["expect"], question["prompt"])


if __name__ == "__main__":
    unittest_main.main()
