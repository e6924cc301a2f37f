"""Writes folders as KerasTuner leaves them, without running a search."""

import json


def write_project(folder, trials, seed=0):
    """Writes `oracle.json` and so many `trial_*/trial.json`.

    Args:
        folder: `pathlib.Path`, is made.
        trials: int >= 1.
        seed: int, makes the scores and values others than those of another seed.

    Returns:
        `folder`.
    """
    space = [
        {
            "class_name": "Float",
            "config": {
                "name": "rate",
                "default": 0.1,
                "conditions": [],
                "min_value": 0.0,
                "max_value": 1.0,
                "step": None,
                "sampling": "linear",
            },
        },
        {
            "class_name": "Choice",
            "config": {
                "name": "kind",
                "default": "a",
                "conditions": [],
                "values": ["a", "b"],
                "ordered": False,
            },
        },
    ]
    ids = [str(index) for index in range(trials)]
    folder.mkdir(parents=True)
    for index, trial_id in enumerate(ids):
        score = (seed * 7919 + index * 104729) % 100_003 / 100_003
        values = {"rate": round(score / 3, 6), "kind": "ab"[index % 2]}
        observed = [{"value": [score - 0.01], "step": 0}, {"value": [score], "step": 1}]
        metrics = {"val_score": {"direction": "max", "observations": observed}}
        state = {
            "trial_id": trial_id,
            "hyperparameters": {"space": space, "values": values},
            "metrics": {"metrics": metrics},
            "score": score,
            "best_step": 1,
            "status": "COMPLETED",
            "message": None,
        }
        (folder / f"trial_{trial_id}").mkdir()
        (folder / f"trial_{trial_id}" / "trial.json").write_text(json.dumps(state))
    oracle = {
        "ongoing_trials": {},
        "hyperparameters": {"space": space, "values": {}},
        "start_order": ids,
        "end_order": ids,
        "run_times": {trial_id: 1 for trial_id in ids},
        "retry_queue": [],
        "seed": seed,
        "seed_state": seed + trials,
        "tried_so_far": [],
        "id_to_hash": {},
        "display": {},
    }
    (folder / "oracle.json").write_text(json.dumps(oracle))
    return folder
