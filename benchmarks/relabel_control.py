"""A synthetic study whose labels follow the scanner and not the density: does the report say so?

    python benchmarks/relabel_control.py [--like STUDY] [--knees N]

Makes the study `relabel` beside the others, like `quick` by default but with more knees, half of them from a second
scanner and labelled by it, and runs it with `run_all.sh`. The drawn density stays the reference label. Printed: what the
report says sorts the folders, how far folder and density agree, and what the networks follow. Ends with 1 where the report
names another trait than those in which the two scanners differ, or where the networks are not at chance at the density.
"""

import argparse
import subprocess

from osteo_utils.evidence import trait_words
from osteo_utils.reporting import findings
from osteo_utils.statistics.two_labels import GRADES
from osteo_utils.study import config, paths, results

STUDY = "relabel"
# Noise, blur, enhancement, black level and bone's grey values of the two do not overlap (`phantom.acquisition.SCANNERS`).
OF_THE_SCANNER = ("noise", "sharpness", "darkest", "black", "bone_grey")


def main() -> int:
    """Run the study and judge it."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--like", default="quick", help="the study whose other settings are taken (default: quick)")
    words.add_argument("--knees", type=int, default=80, help="synthetic knees (default: 80)")
    asked = words.parse_args()
    settings = config.load(asked.like) | {"study": STUDY, "phantom_knees": asked.knees, "phantom_relabel": 1.0}
    config.check(settings, STUDY)
    study = paths.StudyPaths(STUDY)
    config.create_own(settings, results.write_text)
    subprocess.run([paths.code_root() / "run_all.sh", STUDY], check=True)
    metrics = results.load_metrics(study.reports)
    print(findings.what_the_scores_follow(metrics), *trait_words.what_sorts_the_folders(metrics), sep="\n")
    traits = [metrics[f"traits/{grade}/trait"] for grade in GRADES if f"traits/{grade}/trait" in metrics]
    reference = metrics["reference/ensemble/reference_extremes/auroc"]
    named = bool(traits) and all(one.note in OF_THE_SCANNER for one in traits)
    chance = reference.low <= 0.5 <= reference.high
    print(f"the scanner is named: {named}; at the density the networks are at chance: {chance}")
    return 0 if named and chance else 1


if __name__ == "__main__":
    raise SystemExit(main())
