"""The table of the fault drills."""

from table_parts import load, machine_line, markdown


def drills():
    results = load("drills")
    rows = []
    for row in results["rows"]:
        if "failed" in row:
            outcome = f"FAILED: {row['failed']}"
        elif len(row["outcomes"]) == 1:
            [outcome] = row["outcomes"]
        else:
            outcome = "; ".join(
                f"{n:,} times: {what}" for what, n in row["outcomes"].items()
            )
        rows.append([row["fault"], f"{row['count']:,}", outcome.replace("|", "\\|")])
    failed = sum("failed" in row for row in results["rows"])
    total = sum(row["count"] for row in results["rows"])
    verdict = f"{failed} drills failed" if failed else "No drill failed"
    return (
        f"{markdown(['fault', 'count', 'what came of it'], rows)}\n\n{verdict}: "
        f"{total:,} faults and repetitions in {len(rows)} drills. "
        f"{machine_line(results['machine'])}"
    )
