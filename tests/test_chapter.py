"""What the chapters' drivers share, and the rows of a grid."""

import shutil

import matplotlib
import pytest

from vaenb import VaenbError, report
from vaenb.report import records, tables

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

NAME = "02_rate_regularization"


def entry(beta, profile="cpu", steps=10, **more):
    return records.new(
        NAME, "figure3", profile, dict(model="m", beta=beta), 0, dict(gap=1.0),
        scale=dict(steps=[steps, 100]), steps=steps, data=dict(
            name="tetrominoes", sha256="ab", complete=False, note="a tenth of it"),
        **more) | dict(seconds=30.0, convergence=dict(converged=True))


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """An empty clone: what is recorded here stays here."""
    import vaenb

    monkeypatch.setattr(vaenb, "ROOT", tmp_path)
    return tmp_path


def chapter(profile, only=""):
    return report.Chapter(NAME, "rate-regularization", profile, only)


def test_a_profile_that_there_is_not():
    with pytest.raises(VaenbError, match="profile 'quik' is unknown: take one of recorded, smoke"):
        chapter("quik")


def test_only_what_has_no_record_is_missing(clone):
    first, second = entry(0.1), entry(1.0)
    assert chapter("cpu").missing("figure3", [first, second]) == [first, second]
    records.write(first)
    assert chapter("cpu").missing("figure3", [first, second]) == [second]
    assert chapter("smoke").missing("figure3", [first, second]) == [first, second]
    longer = entry(0.1, steps=20)
    assert chapter("cpu").missing("figure3", [longer]) == [longer]


def test_what_the_book_has_is_shown_and_not_run_again(clone, capsys):
    first, second = entry(0.1), entry(1.0)
    records.write(first)
    records.merge()
    shutil.rmtree(clone / "runs")
    assert chapter("cpu").missing("figure3", [first, second]) == [second]
    assert len(chapter("cpu").read("figure3")) == 1 and not chapter("full").read("figure3")
    anew = report.Chapter(NAME, "rate-regularization", "cpu", anew=True)
    assert anew.missing("figure3", [first, second]) == [first, second]
    assert not anew.read("figure3") and not anew.experiment("figure3", lambda name: None)
    assert not capsys.readouterr().out
    assert len(chapter("cpu").experiment("figure3", lambda name: records.write(second))) == 2
    assert capsys.readouterr().out.count("figure3: 1 of 2 models are recorded in the book") == 1
    assert anew.missing("figure3", [first, second]) == [first]  # a run that was stopped goes on
    assert len(anew.read("figure3")) == 1 and len(chapter("cpu").read("figure3")) == 2


def test_one_seed_alone():
    assert list(chapter("cpu").seeds(3)) == [0, 1, 2]
    alone = report.Chapter(NAME, "rate-regularization", "cpu", only_seed=4)
    assert list(alone.seeds(3)) == [4]  # more than planned is asked for by name


def test_an_experiment_runs_where_it_is_wanted(clone):
    ran = []

    def run(name):
        ran.append(name)
        records.write(entry(0.1, profile="quick"))

    assert len(chapter("quick").experiment("figure3", run)) == 1
    assert chapter("quick", only="figure4").experiment("figure3", run)  # from the first run
    assert chapter("quick").experiment("figure5", run, wanted=False) == []
    assert chapter("recorded").experiment("figure3", run) == []  # the book has none
    assert ran == ["figure3"]


def test_the_budget_counts_runs_of_this_length(clone):
    for k, steps in enumerate((10, 10, 20)):
        records.write(entry(0.1 + k, steps=steps))
    told = repr(chapter("cpu").budget({"figure3": ("tetrominoes", 120)}, 10))
    assert "tetrominoes  120     2         30            1             R01 R02" in told
    assert "120     3" in repr(chapter("cpu").budget({"figure3": ("tetrominoes", 120)}, 0))
    nothing = repr(chapter("quick").budget({"figure3": ("tetrominoes", 6)}, 10))
    assert "Profile quick, 10 steps" in nothing and "0" in nothing


def test_an_experiment_that_is_not_planned_stops_at_once(clone):
    planned = {"figure3": ("tetrominoes", 1), "figure5": ("tetrominoes", 1)}
    with pytest.raises(VaenbError, match="only='figure33' is no experiment of this chapter: take "
                                         "one of figure3, figure5"):
        chapter("cpu", only="figure33").budget(planned, 0)
    assert "figure5" in repr(chapter("cpu", only="figure3").budget(planned, 0))


def test_the_budget_says_for_which_set_runs_stand_in(clone):
    lag = report.Chapter("04_lagging_inference", "lagging-inference", "cpu")
    told = repr(lag.budget({"table10": ("synthetic", 21), "yahoo": ("yahoo", 30)}, 0))
    assert "(L12: yelp)" in told and "(L08: yelp)" in told and "(L03" not in told
    assert "another set" in told
    told = repr(lag.budget({"table10": ("yelp", 35)}, 0))
    assert " L12" in told and "another set" not in told  # where it is at hand


def test_the_budget_names_the_devices(clone):
    records.write(entry(0.1, device="cpu"))
    told = repr(chapter("cpu").budget({"figure3": ("tetrominoes", 1)}, 0))
    assert f"as recorded, training and measuring, on {records.device_name()}." in told


def test_a_figure_says_how_much_was_run_on_which_data(clone, monkeypatch, capsys):
    monkeypatch.setattr(plt, "show", lambda: None)
    fig = plt.figure()
    chapter("cpu").finish(fig, [entry(0.1), entry(1.0)], [], [entry(0.1)])
    assert fig.get_supxlabel() == "ours: cpu, reduced, 1 seed"
    told = "tetrominoes: cpu: 10 of 100 steps, 1 seed; a tenth of it"
    assert capsys.readouterr().out.strip() == told
    assert f"<li>{told}</li>" in tables.Note([told])._repr_html_()
    chapter("cpu").finish(fig, [])
    assert fig.get_supxlabel() == "ours: not run in this profile"
    plt.close(fig)
