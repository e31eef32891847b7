import json

import pytest
import yaml
from click.testing import CliRunner

from t2i_spatial.cli.main import main as cli
from t2i_spatial.errors import InputError
from t2i_spatial.files import write_json
from t2i_spatial.run import Run
from t2i_spatial.stages.auditing.audit import audit_run
from t2i_spatial.stages.auditing.pick import pick_run
from t2i_spatial.stages.auditing.settings import PickSettings
from t2i_spatial.stages.card import differences, make_card, markdown, read_card, table
from tests.stages.auditing.labelled_run import label_picks, make_run


@pytest.fixture
def run(tmp_path):
    made, _ = make_run(tmp_path / "run", n_prompts=30)
    return made


def test_card_is_verified_and_says_what_differs(run):
    card = json.loads(json.dumps(make_card(run)))
    assert differences(card, run) == []
    card["numbers"]["visor"]["OA"]["value"] += 0.1
    card["detector"]["detector"] = "another"
    found = differences(card, run)
    assert [line.partition(":")[0] for line in found] == [
        "detector.detector",
        "numbers.visor.OA.value",
    ]


def test_summary_that_was_changed_by_hand_is_found_out(run):
    summary = run.summary()
    summary["visor"]["OA"]["value"] = 0.99
    run.write_summary(summary)
    (line,) = differences(make_card(run), run)
    assert line.startswith("numbers.visor.OA.value: 0.99 on the card")


def test_audited_numbers_are_on_the_card(tmp_path):
    run, truth = make_run(tmp_path / "run")
    pick_run(run, PickSettings(number=80))
    label_picks(run, truth)
    audit_run(run)
    card = make_card(run, "My | <model>")
    assert card["labels"]["files"] == 1
    assert card["numbers"]["visor"]["VISOR_uncond"]["audited"]["n"] == 80
    assert differences(card, run) == []
    text = markdown(card)
    head = yaml.safe_load(text.split("---")[1])
    (entry,) = head["model-index"]
    assert entry["name"] == "My | <model>"
    names = [m["name"] for r in entry["results"] for m in r["metrics"]]
    assert "visor VISOR_uncond (audited)" in names
    assert "# My \\| &lt;model>" in text
    assert str(tmp_path) not in text + json.dumps(card)


def test_table_keeps_what_was_measured_otherwise_apart(run, tmp_path):
    other, _ = make_run(tmp_path / "better", n_prompts=30, missed=0.0)
    third, _ = make_run(tmp_path / "third", n_prompts=31)
    cards = [make_card(r, n) for r, n in ((run, "one"), (other, "two"), (third, "three"))]
    text = table(cards)
    assert text.count("## visor: VISOR_uncond") == 2
    assert text.index("| two |") < text.index("| one |")


def test_commands(run, tmp_path):
    runner, place = CliRunner(), str(run.path)
    assert runner.invoke(cli, ["card", place]).exit_code == 0
    file = run.path / "card.json"
    assert (run.path / "card.md").read_text().startswith("---\nmodel-index:")
    good = runner.invoke(cli, ["card", "verify", str(file), place])
    assert good.stdout == "the run gives this card\n"
    card = read_card(file)
    card["prompts"]["n"] = 5
    write_json(file, card)
    bad = runner.invoke(cli, ["card", "verify", str(file), place])
    assert bad.exit_code == 1
    assert "prompts.n: 5 on the card, 30 in the run" in bad.stdout
    shown = runner.invoke(cli, ["card", "table", str(tmp_path)])
    assert "## visor: VISOR_uncond" in shown.stdout
    none = runner.invoke(cli, ["card", "table", str(run.path / "verdicts")])
    assert none.exit_code == 1
    assert "holds no cards" in none.stderr


def test_what_has_no_card(tmp_path):
    with pytest.raises(InputError, match="no scores yet"):
        make_card(Run.create(tmp_path / "empty"))
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(InputError, match="no result card"):
        read_card(tmp_path / "x.json")
