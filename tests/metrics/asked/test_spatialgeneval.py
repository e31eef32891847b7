"""SpatialGenEval: the peer's rule on replies as they come, ours, and letters alone."""

from __future__ import annotations

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.spatialgeneval import (
    DOMAINS,
    SpatialGenEval,
    SpatialGenEvalStrict,
    read_options,
    valid_replies,
)
from t2i_spatial.questions import TEMPLATES, option_order, table_to_question
from t2i_spatial.stages.ask import AskSettings, ask_run
from t2i_spatial.stages.score import format_table, score_run
from t2i_spatial.tables import IN_PART, SCORED
from tests.judges.replaying_server import ReplayingServer, said
from tests.metrics.asked.answered import components, read, scored
from tests.stages.asked_run import make_run

OPTIONS = "Options: A: one, B: two, C: three, D: four, E: None"
GOLD = "CBDACCBDAC"
RECORDS = [
    {
        "id": f"{k:06}",
        "scene": scene,
        "prompt": f"prompt {k}",
        "question_type": [domain.capitalize() for domain in DOMAINS],
        "questions": [f"Question {k}.{n}?  {OPTIONS}" for n in range(10)],
        "answers": list(GOLD),
    }
    for k, scene in ((1, "Forest"), (2, "Forest"), (3, "Kitchen"))
]
PEER = SpatialGenEval()
STRICT = SpatialGenEvalStrict()


def lines(letters):
    return "\n".join(f"{letter}: because it is so" for letter in letters)


def wrong(*places):
    return "".join("E" if k in places else letter for k, letter in enumerate(GOLD))


# (what the replies are, first characters per line as the peer reads them; None: not valid)
RECORDED = {
    "plain": (lines(GOLD), GOLD),
    "blank lines between": (lines(GOLD).replace("\n", "\n\n  \n"), GOLD),
    "blanks around": ("\n  " + lines(GOLD).replace("\n", "\n\t") + " \n", GOLD),
    "numbered": ("\n".join(f"{k + 1}. {c}: so" for k, c in enumerate(GOLD)), "1234567891"),
    "markdown": ("\n".join(f"**{c}** so" for c in GOLD), "*" * 10),
    "lower case": (lines(GOLD.lower()), GOLD.lower()),
    "nine lines": (lines(GOLD[:9]), None),
    "eleven lines": (lines(GOLD + "A"), None),
    "a heading": ("Here are the answers:\n" + lines(GOLD), None),
    "one line": (" ".join(GOLD), None),
    "ten lines of a refusal": ("\n".join(["I cannot say."] * 10), "I" * 10),
    "refusal": ("I'm sorry, I can't help with that.", None),
    "carriage returns": (lines(GOLD).replace("\n", "\r\n"), GOLD),
    "empty": ("", None),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_reply_is_read_as_the_peer_reads_it(name):
    text, read_as = RECORDED[name]
    assert list(valid_replies([{"raw": text}], 10)) == ([list(read_as)] if read_as else [])


def test_the_request_has_the_peers_structure():
    question = table_to_question(PEER.questions(read(RECORDS)).row(0, named=True))
    template = TEMPLATES[question.template]
    assert (template.temperature, template.image_first) == (1.0, False)
    assert template.system is not None
    assert (question.kind, question.lines, question.gold) == ("letters", 10, GOLD)
    places = [question.text.index(text) for text in RECORDS[0]["questions"]]
    assert places == sorted(places)
    assert "prompt 1" not in question.text


def test_four_of_five_votes_make_a_question_right():
    said_of = {
        # question 0: 4 right of 5; question 1: 3 right of 5; question 2: 4 agree on a wrong letter
        "000001": [
            lines(wrong(0, 1, 2)),
            *[lines(wrong(1, 2))],
            *[lines(wrong(2))] * 2,
            lines(GOLD),
        ],
        "000002": [lines(GOLD)] * 5,
        "000003": [lines("E" * 10)] * 5,
    }
    verdicts, summary = scored(PEER, RECORDS, lambda prompt, _: said_of[prompt])
    first = components(verdicts.row(0, named=True))
    assert (first["object"], first["attribute"], first["position"]) == (1, 0, 0)
    assert first["overall"] == pytest.approx(0.8)
    assert (first["basic"], first["spatial"]) == (0.5, 7 / 8)
    assert verdicts["correct"].to_list() == [False, True, False]
    # the peer: columns over three items, then means of columns
    columns = [2, 1, 1, 2, 2, 2, 2, 2, 2, 2]
    for domain, right in zip(DOMAINS, columns, strict=True):
        assert summary[domain]["value"] == pytest.approx(right / 3)
    assert summary["overall"]["value"] == pytest.approx(sum(columns) / 30)
    assert summary["basic"]["value"] == pytest.approx(sum(columns[:2]) / 6)
    assert summary["spatial"]["value"] == pytest.approx(sum(columns[2:]) / 24)
    assert summary["by_tag"]["Forest"]["overall"]["value"] == pytest.approx(0.9)


def test_quirk_numbers_and_markdown_are_wrong_votes():
    for name in ("numbered", "markdown", "lower case"):
        _, summary = scored(PEER, RECORDS, lambda *_, name=name: [RECORDED[name][0]] * 5)
        assert summary["overall"]["value"] == 0, name


def test_the_first_five_valid_replies_count_and_no_more():
    replies = [lines(GOLD[:9]), *[lines("E" * 10)] * 2, "", *[lines(GOLD)] * 3, *[lines(GOLD)] * 9]
    _, summary = scored(PEER, RECORDS[:1], lambda *_: replies)
    assert summary["overall"]["value"] == 0  # three of five


def test_quirk_an_image_without_five_valid_replies_is_dropped_and_bounded():
    said_of = {
        "000001": [lines(GOLD)] * 4 + [lines(GOLD[:9])] * 21,
        "000002": [lines(GOLD)] * 5,
        "000003": [lines("E" * 10)] * 5,
    }
    verdicts, summary = scored(PEER, RECORDS, lambda prompt, _: said_of[prompt])
    assert verdicts["status"].to_list() == [IN_PART, SCORED, SCORED]
    assert verdicts["reason"][0].startswith("4 valid replies of 25, 5 are needed")
    assert summary["overall"]["value"] == 0.5
    assert summary["overall_at_least"]["value"] == pytest.approx(1 / 3)
    assert summary["overall_at_most"]["value"] == pytest.approx(2 / 3)


def test_a_lost_picture_counts_unless_it_is_left_out():
    reply = lambda *_: [lines(GOLD)] * 5  # noqa: E731
    _, counted = scored(PEER, RECORDS, reply, lost=["000003"])
    assert counted["overall_at_least"]["value"] == pytest.approx(2 / 3)
    _, left = scored(PEER, RECORDS, reply, lost=["000003"], allow_missing=True)
    assert left["overall"]["value"] == left["overall_at_least"]["value"] == 1


def test_letters_alone_score_and_are_shown():
    baselines = PEER.baselines(read(RECORDS))
    assert baselines == {"always C": 0.4, "best letter per question": 1.0}
    _, summary = scored(PEER, RECORDS, lambda *_: [lines("C" * 10)] * 5)
    assert summary["overall"]["value"] == pytest.approx(0.4)


# -- strict -------------------------------------------------------------------------------------


def test_strict_a_judge_that_likes_a_letter_gains_nothing():
    def reply(prompt, row):
        question = table_to_question(row)
        replies = []
        for rollout in range(5):
            order = option_order(question, rollout, 0, f"{prompt}_0")
            replies.append("ABCDE"[order[2]])  # always says C, whatever is shown there
        return replies

    _, summary = scored(STRICT, RECORDS, reply)
    assert summary["overall"]["value"] == 0
    _, mild = scored(SpatialGenEvalStrict(needed=0.2), RECORDS, reply)
    assert mild["overall"]["value"] == 1  # one rollout of five shows the right option under C


def test_strict_refusals_are_bounds():
    def reply(prompt, row):
        if prompt == "000001" and row["skill"] == "motion":
            return ["refused"] * 5
        if prompt == "000002" and row["skill"] == "motion":
            return [row["gold"]] * 4 + ["off_format"]
        return [row["gold"]] * 5

    verdicts, summary = scored(STRICT, RECORDS, reply)
    assert verdicts["status"].to_list() == [IN_PART, SCORED, SCORED]
    assert verdicts["unjudged"][0].to_list() == ["the question of motion"]
    assert summary["overall"]["value"] == pytest.approx(29 / 30)
    assert summary["overall_at_most"]["value"] == 1
    assert summary["motion"]["value"] == pytest.approx(2 / 3)
    assert summary["object"]["value"] == 1


def test_strict_probabilities_count_as_votes():
    _, summary = scored(STRICT, RECORDS, lambda _, row: [0.9 if row["skill"] != "layout" else 0.7])
    assert (summary["overall"]["value"], summary["layout"]["value"]) == (pytest.approx(0.9), 0)


def test_strict_options_that_lack_the_right_letter_are_not_asked():
    record = RECORDS[0] | {"answers": ["C"] * 9 + ["D"]}
    record["questions"] = [*record["questions"][:9], "Why?  Options: A: x, B: y, C: z, E: None"]
    assert len(STRICT.questions(read([record]))) == 9
    _, summary = scored(STRICT, [record], lambda _, row: [row["gold"]] * 5)
    assert (summary["overall"]["value"], summary["causal"]["value"]) == (1, None)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Q?  Options: A: Left, by day, B: Right, E: None", ["Left, by day", "Right", "None"]),
        ("Q? Options: A: Blonde. B: Brown. C: Black. D: Silver, E: None",
         ["Blonde", "Brown", "Black", "Silver", "None"]),
        ("Q? Options: A. Left\nB. Right", ["Left", "Right"]),
        ("Q? Options: A) with vitamin C: yes, B) no", ["with vitamin C: yes", "no"]),
    ],
)  # fmt: skip
def test_options_are_read(text, options):
    stem, found = read_options(text)
    assert stem == "Q?"
    if "vitamin" not in text:
        assert list(found.values()) == options


def test_a_question_without_options_is_one_line():
    for text in ("Where?", "Where? Options: left or right", "Where? Options: A: left"):
        with pytest.raises(InputError, match="a question without options: 'Where"):
            read_options(text)


def test_right_letters_outside_the_options_are_remarked_on():
    assert PEER.remarks(read(RECORDS)) == []
    odd = [{**RECORDS[0], "answers": list("F" + GOLD[1:])}]
    (line,) = PEER.remarks(read(odd))
    assert line == (
        "1 of 10 right letters of spatialgeneval are none of the options of their question and "
        "cannot be met (first: F of object, prompt '000001')"
    )
    assert "are not asked" in STRICT.remarks(read(odd))[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"answers": list(GOLD[:9])}, "10 questions with 9 answers"),
        ({"answers": ["1"] * 10}, "one letter"),
        ({"question_type": ["Taste"] * 10}, "unknown type of question 'taste'"),
        ({"questions": "Q?"}, "must be a list"),
    ],
)
def test_broken_records_are_one_line_that_names_the_prompt(change, told):
    with pytest.raises(InputError, match=told) as caught:
        PEER.questions(read([RECORDS[0] | change]))
    assert "'000001'" in str(caught.value)


def test_replies_are_asked_for_until_five_are_valid(tmp_path):
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    prompts = read(RECORDS[:1]).with_columns(prompt_id=run.prompts()["prompt_id"])
    run.write_prompts(prompts)

    def answer(body, number):
        return said(lines(GOLD) if number in (1, 2, 4, 5, 8) else lines(GOLD[:9]))

    with ReplayingServer(answer) as server:
        options = {"patience": 5.0, "timeout": 5.0, "probe": False, "concurrency": 1}
        settings = AskSettings(judge=server.url, judge_model="m", options=options)
        result = ask_run(run, [PEER], settings)
        asked = len(server.bodies)
        again = ask_run(run, [PEER], settings)
        assert (again.pending, len(server.bodies)) == (0, asked)
    assert 9 <= asked <= 12
    assert result.left == 0
    assert result.expected == asked
    scores = score_run(run, [PEER])
    assert scores.summary["spatialgeneval"]["overall"]["value"] == 1
    table = format_table(scores.summary)
    assert "judge: m (spatialgeneval/1, 5 votes)" in table
    assert "without looking at a picture: always C 40.0, best letter per question 100.0" in table


def test_a_judge_that_never_answers_in_form_is_asked_25_times(tmp_path):
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    run.write_prompts(read(RECORDS[:1]).with_columns(prompt_id=run.prompts()["prompt_id"]))
    with ReplayingServer(lambda *_: said("no")) as server:
        options = {"patience": 5.0, "timeout": 5.0, "probe": False}
        result = ask_run(
            run, [PEER], AskSettings(judge=server.url, judge_model="m", options=options)
        )
        assert len(server.bodies) == 25
    assert (result.left, result.expected) == (0, 25)
    assert score_run(run, [PEER]).verdicts["spatialgeneval"]["status"].to_list() == [IN_PART]
