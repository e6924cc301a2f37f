"""The commands `keras-meta pool ...`: keep and look at past searches."""

import os
import sys

from keras_meta.cli_output import fail, new_console, plain_table, plain_text

DEFAULT_POOL = "experience.sqlite"


def add_pool_commands(commands):
    pool = commands.add_parser("pool", help="keep and look at past searches")
    commands = pool.add_subparsers(required=True, metavar="POOL_COMMAND")
    importer = commands.add_parser(
        "import", help="read KerasTuner's project folders into a pool"
    )
    importer.add_argument(
        "folders",
        metavar="DIR",
        nargs="+",
        help="a project's folder, or one that has projects in it",
    )
    importer.add_argument(
        "--objective",
        metavar="METRIC",
        help="the searches' objective, where the folders do not tell",
    )
    importer.add_argument(
        "--direction",
        choices=("min", "max"),
        help="whether the objective is to fall or to rise; with --objective",
    )
    importer.set_defaults(run=_pool_import)
    show = commands.add_parser("show", help="list a pool's tasks")
    show.set_defaults(run=_pool_show)
    importance = commands.add_parser(
        "importance", help="say which hyperparameters mattered"
    )
    importance.add_argument(
        "--objective", metavar="METRIC", help="default: that of most tasks"
    )
    importance.add_argument("--plot", metavar="FILE.png", help="draw it, too")
    importance.set_defaults(run=_pool_importance)
    export = commands.add_parser("export", help="write a pool's trials as JSON lines")
    export.add_argument("--output", metavar="FILE", help="default: standard output")
    export.set_defaults(run=_pool_export)
    for command in (importer, show, importance, export):
        command.add_argument(
            "--pool",
            metavar="FILE",
            default=DEFAULT_POOL,
            help=f"the pool's file; default: {DEFAULT_POOL}",
        )


def _pool_import(arguments):
    # Lazily, as in the other pool commands: presets need no search.
    from keras_meta.tuner import ExperiencePool
    from keras_meta.tuner.pool_import import checked_projects

    status, folders = 0, []
    console = new_console()
    for folder in arguments.folders:
        if not os.path.isdir(folder):
            status = fail(f"There is no folder {folder!r}.")
            continue
        try:
            checked_projects(folder)
        except ValueError as error:
            status = fail(error)
        else:
            folders.append(folder)
    if not folders:  # No pool is made for nothing.
        return status
    with ExperiencePool(arguments.pool) as pool:
        table = plain_table(
            f"Read into {arguments.pool}", "folder", "tasks", "new", "updated", "known"
        )
        skipped = []
        for folder in folders:
            try:
                report = pool.import_project(
                    folder,
                    objective=arguments.objective,
                    direction=arguments.direction,
                )
            except ValueError as error:
                status = fail(error)
                continue
            counts = (report.added, report.updated, report.unchanged)
            table.add_row(*map(plain_text, (folder, len(report.tasks), *counts)))
            skipped += report.skipped
    if table.row_count:
        console.print(table)
    if skipped:
        table = plain_table("Skipped", "file", "reason")
        for path, reason in skipped:
            table.add_row(plain_text(path), plain_text(reason))
        console.print(table)
    return status


def _pool_show(arguments):
    from keras_meta.tuner import ExperiencePool

    console = new_console()
    with ExperiencePool(arguments.pool, read_only=True) as pool:
        tasks = pool.tasks()
    table = plain_table(
        f"Tasks of {arguments.pool}", "name", "objective", "trials", "ended", "best"
    )
    for task in tasks:
        scores = [trial.score for trial in task.trials if trial.score is not None]
        best = (min if task.direction == "min" else max)(scores, default=None)
        cells = (
            task.name,
            f"{task.direction} {task.objective}",
            len(task.trials),
            sum(trial.status == "COMPLETED" for trial in task.trials),
            None if best is None else f"{best:.6g}",
        )
        table.add_row(*map(plain_text, cells))
    total = sum(len(task.trials) for task in tasks)
    table.add_row("total", "", f"{total:,}", "", "")
    console.print(table)
    return 0


def _pool_importance(arguments):
    from keras_meta.tuner import ExperiencePool, importance

    with ExperiencePool(arguments.pool, read_only=True) as pool:
        if not len(pool):
            return fail(f"The pool {arguments.pool!r} is empty: import searches first.")
        try:
            found = importance(pool, arguments.objective)
        except ValueError as error:
            return fail(error)
    columns = ("hyperparameter", "share of variance", "95 % interval", "alone")
    table = plain_table(f"{len(found.tasks)} tasks of {arguments.pool}", *columns)
    for name, share, low, high, alone in found.rows():
        cells = (name, f"{share:.2f}", f"{low:.2f} to {high:.2f}", f"{alone:.2f}")
        table.add_row(*map(plain_text, cells))
    new_console().print(table)
    if arguments.plot:
        found.save_plot(arguments.plot)
    return 0


def _pool_export(arguments):
    from keras_meta.tuner import ExperiencePool

    with ExperiencePool(arguments.pool, read_only=True) as pool:
        try:
            pool.export(sys.stdout if arguments.output is None else arguments.output)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader, such as `head`, has enough. Python flushes once more at
            # its end, which must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
