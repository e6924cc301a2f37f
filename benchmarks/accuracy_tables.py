"""The README's tables of what is learned: losses and accuracies."""

import json

from table_parts import HERE, load, machine_line, markdown

LEARNED_ON = ("quadratics", "network")  # problems of learned_optimizers.py


def sinusoid_table():
    results = load("sinusoid_table")
    rows = []
    for row in results["rows"]:
        cells = [
            f"{t['mean']:.2f} ± {t['ci95']:.2f} ({t['paper']:.2f})"
            for t in row["test"].values()
        ]
        rows.append(
            [row["method"], row["train_shots"], *cells, f"{row['seconds']:.0f} s"]
        )
    shots = list(results["rows"][0]["test"])
    header = ["", "trained on shots", *[f"{n} test shots" for n in shots], "training"]
    return (
        f"{markdown(header, rows)}\n\nMean squared error after one step, "
        f"{results['test_tasks']} new tasks, 95 % intervals; in brackets the paper's "
        f"figure. {machine_line(results['machine'])}"
    )


def outlier_tasks():
    results = load("outlier_tasks")
    columns, table = [], {}
    for row in results["rows"]:
        kind = "shuffled" if row["factor"] == 1 else f"shuffled × {row['factor']:.0f}"
        column = f"{100 * row['share']:.0f} % {kind}" if row["share"] else "clean"
        if column not in columns:
            columns.append(column)
        means = [run["mean"] for run in row["runs"]]
        table.setdefault(row["reduction"], []).append(
            f"{row['mean']:.2f} ± {row['ci95']:.2f} ({min(means):.2f}-{max(means):.2f})"
        )
    rows = [[f"`{name}`", *cells] for name, cells in table.items()]
    return (
        f"{markdown(['`task_reduction`', *columns], rows)}\n\nMean squared error on "
        f"{results['test_tasks']} clean tasks after one step of Meta-SGD on "
        f"{results['shots']} shots, by what share of the training tasks was faulty: "
        f"mean over seeds {results['seeds']}, 95 % interval over tasks, in brackets "
        f"the range over seeds. {results['iterations']:,} meta-steps of "
        f"{results['meta_batch_size']} tasks. {machine_line(results['machine'])}"
    )


def learned_optimizers():
    parts = []
    for problem in LEARNED_ON:
        results = load(f"learned_optimizers_{problem}")
        rows = []
        for row in results["rows"]:
            name = f"{row.get('data', '')} {row['case']}".strip()
            ours = row["learned"]
            cells = [f"**{ours['compared']:.3f} ± {ours['ci95']:.3f}**"]
            for baseline in row["baselines"].values():
                cells.append(
                    f"{baseline['compared']:.3f} (rate {baseline['rate']:g}; "
                    f"{baseline['learned_minus_this']:+.3f} ± "
                    f"{baseline['learned_minus_this_ci95']:.3f})"
                )
            rows.append([f"{name}, {row['steps']} steps", *cells])
        header = ["", "learned", *results["rows"][0]["baselines"]]
        row = results["rows"][0]
        last = "step" if row["last"] == 1 else f"{row['last']} steps"
        parts.append(
            f"{markdown(header, rows)}\n\nMean loss of the last {last} on "
            f"{row['problems']} new problems; in brackets the best rate of the grid, "
            "chosen on these very problems, and the learned optimizer's loss minus "
            "this one's, paired, 95 % interval. "
            f"{results['meta_steps']:,} meta-steps in "
            f"{results['meta_training_seconds'] / 60:.1f} minutes. "
            f"{machine_line(results['machine'])}"
        )
    return "\n\n".join(parts)


def default_lstm():
    results = load("default_lstm")
    rows = []
    for row in results["rows"]:

        def mean(label, key, row=row):
            runs = [run[key] for run in row["runs"][label]]
            return sum(runs) / len(runs)

        grid = [label for label in row["runs"] if label != "learned"]
        best = min(grid, key=lambda label: mean(label, "loss"))
        for label in ("learned", "Adam(0.001)", best):
            losses = [run["loss"] for run in row["runs"][label]]
            rows.append(
                [
                    row["case"] if label == "learned" else "",
                    row["steps"] if label == "learned" else "",
                    '`weights="default"`' if label == "learned" else label,
                    f"{mean(label, 'loss'):.3f} ({min(losses):.3f}-{max(losses):.3f})",
                    f"{mean(label, 'val_loss'):.3f}",
                    f"{100 * mean(label, 'val_accuracy'):.1f}",
                ]
            )
    header = ["", "steps", "optimizer", "training loss", "held out", "accuracy, %"]
    seeds = results["rows"][0]["seeds"]
    return (
        f"{markdown(header, rows)}\n\nTraining loss of the last {results['last']} "
        "batches, mean and range; loss and accuracy on a quarter of the rows that was "
        f"held out; means over seeds {seeds}. The third row of each is the best Adam "
        "of a grid of six rates. Meta-trained for "
        f"{results['meta_steps']:,} meta-steps in "
        f"{results['meta_training_seconds'] / 60:.0f} minutes. "
        f"{machine_line(results['machine'])}"
    )


def omniglot():
    files = sorted((HERE / "results" / "omniglot").glob("*.json"))
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    columns = [f"{ways}-way {shots}-shot" for ways in (5, 20) for shots in (1, 5)]
    rows = []
    for result in results:
        row = result["row"]
        run, cells = row["run"], []
        for column in columns:
            accuracy = row["accuracy"].get(column)
            cells.append(_accuracy(run, accuracy) if accuracy else "")
        trained_on = f"{run['ways']}-way {run['shots']}-shot"
        statistics = "transductive" if run["statistics"] == "task" else "running"
        rows.append(
            [
                run["method"],
                run["net"],
                statistics,
                f"{trained_on}, {run['iterations']:,} x {run['meta_batch_size']}",
                *cells,
            ]
        )
    header = ["", "net", "batch norm", "meta-trained on, meta-steps x tasks", *columns]
    return (
        f"{markdown(header, sorted(rows))}\n\nAccuracy in % on characters of alphabets "
        "that were never seen in training, 600 episodes, 15 queries a class, 95 % "
        "intervals. Of learners that take steps: after as many as in training (Reptile "
        "5, others 1), then after more (Reptile 10, others 3). "
        f"{machine_line(results[0]['machine'])}"
    )


def _accuracy(run, accuracy):
    """After as many steps as in training, and after those of evaluation."""
    mean, interval = (
        [100 * value for value in accuracy[key]] for key in ("mean", "ci95")
    )
    last = f"{mean[-1]:.2f} ± {interval[-1]:.2f}"
    steps = run["inner_steps"]
    if len(mean) < 2 or steps == run["evaluation_steps"]:
        return last
    return f"{mean[steps]:.2f} ± {interval[steps]:.2f}; {last}"


def personalisation():
    parts = []
    for name in ("wisdm", "clinc150", "m4_hourly"):
        for table in load(name):
            rows = [
                [
                    row["method"],
                    f"{row['mean']:.3f} ± {row['ci95']:.3f}",
                    f"{row['difference']:+.3f} ± {row['difference_ci95']:.3f}"
                    if row["method"] != "meta-learned"
                    else "",
                    row["chosen"],
                ]
                for row in table["rows"]
            ]
            header = [table["title"], "mean", "meta-learned minus this", "chosen"]
            parts.append(markdown(header, rows))
    return "\n\n".join(parts)


def digits_demo():
    results = load("digits_demo")
    return results["table"]
