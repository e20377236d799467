"""The nested choice as notebooks 04 to 06 show it: of one network, and of the combination of both."""

from __future__ import annotations

import pandas as pd

from osteo_utils.networks import training
from osteo_utils.protocols import inner_folds
from osteo_utils.reporting.network_notebook import Network
from osteo_utils.reporting.tables import readable
from osteo_utils.statistics import nested_choice
from osteo_utils.study import results

NONE = "no nested choice: {}"


def of_network(network: Network) -> pd.DataFrame | str:
    """Fit what is missing on inner folds and choose recipe and variant for each fold; the choices as a table.

    Writes the chosen predictions, the table of choices, and metrics beside those of the primary recipe.
    """
    run, model = network.run, network.backbone
    kept = run.paths.inner_predictions(model)
    if not run.p.nested_recipes:
        return _without(run, model, "nested_recipes is empty")
    try:
        inner = training.fit_inner(run, network.images, network.folds, network.activations, network.weights)
    except ValueError as error:
        # With few persons a fit may be possible without one fold and not without two. The study goes on without it.
        if not str(error).startswith(inner_folds.PROTOCOL):
            raise
        return _without(run, model, str(error))
    results.write_table(kept, inner)
    honest = network.predictions[network.predictions.protocol == "grouped"]
    fixed = honest[(honest.recipe == run.p.primary_recipe) & (honest.variant == "full")]
    return _shown(run, model, nested_choice.named(inner), nested_choice.named(honest), fixed)


def of_both(run: results.Run, models: dict[str, pd.DataFrame], fixed: pd.DataFrame) -> pd.DataFrame | str:
    """Choose among the candidates of both networks and their averages for each fold; the choices as a table.

    `models` are the predictions of each network, `fixed` the average of the primary recipe. Candidates, simple ones
    first: each network's own, the average of both networks for each recipe and variant, and the average of all.
    """
    paths = {name: run.paths.inner_predictions(name) for name in models}
    if not all(path.is_file() for path in paths.values()):
        return _without(run, "ensemble", "notebook 04 or 05 made none")
    inner = {name: run.read(path) for name, path in paths.items()}
    tables = []
    for predictions in (inner, models):
        found = pd.concat([nested_choice.named(table, f"{name}: ") for name, table in predictions.items()])
        tables.append(found)
    tried, outer = tables
    outer = _as_tried(outer[outer.protocol == "grouped"], tried)
    parts = [(tried[tried.seed == seed], outer[outer.seed == seed]) for seed in dict.fromkeys(tried.seed)]
    with_averages = [_with_averages(*part, list(models)) for part in parts]
    tried, outer = (pd.concat(tables, ignore_index=True) for tables in zip(*with_averages, strict=True))
    return _shown(run, "ensemble", tried, outer, fixed)


def _with_averages(tried: pd.DataFrame, outer: pd.DataFrame, models: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The candidates of one seed and their averages: of the models for each arm, and of all."""
    names = list(dict.fromkeys(tried[nested_choice.CANDIDATE]))
    own = [name.removeprefix(f"{models[0]}: ") for name in names if name.startswith(f"{models[0]}: ")]
    averages = {f"both: {arm}": [f"{model}: {arm}" for model in models] for arm in own} | {
        "both: average of all": names
    }
    made = (
        pd.concat([table, *(nested_choice.averaged(table, members, name) for name, members in averages.items())])
        for table in (tried, outer)
    )
    return tuple(made)


def _as_tried(outer: pd.DataFrame, tried: pd.DataFrame) -> pd.DataFrame:
    """The outer predictions of the candidates that were tried for their seed, in the order of `tried`."""
    key = ["seed", nested_choice.CANDIDATE]
    return tried[key].drop_duplicates().merge(outer, on=key)[outer.columns]


def _without(run: results.Run, model: str, reason: str) -> str:
    """Remove what an earlier run chose; returns why there is no choice."""
    tables = run.paths.predictions / f"{model}_nested.csv", run.paths.tables / f"{model}_nested_choices.csv"
    for path in (run.paths.inner_predictions(model), *tables):
        path.unlink(missing_ok=True)
    return NONE.format(reason)


def _shown(run: results.Run, model: str, inner: pd.DataFrame, outer: pd.DataFrame, fixed: pd.DataFrame) -> pd.DataFrame:
    outer = _as_tried(outer, inner)
    found = [
        nested_choice.choose(inner[inner.seed == seed], outer[outer.seed == seed]) for seed in dict.fromkeys(inner.seed)
    ]
    chosen, choices = (pd.concat(tables, ignore_index=True) for tables in zip(*found, strict=True))
    results.write_table(run.paths.predictions / f"{model}_nested.csv", chosen, "predictions")
    seeds = nested_choice.complete_seeds(outer)
    judged, auroc = chosen[chosen.seed.isin(seeds)], f"{model}/grouped/nested/auroc"
    found = nested_choice.estimates(judged, fixed, model, run.p.bootstrap_resamples, run.p.seed)
    found[auroc] = nested_choice.with_other_seeds(found[auroc], chosen, seeds)
    best = f"{model}/grouped/nested/best_afterwards"
    found[best] = nested_choice.best_afterwards(outer[outer.seed.isin(seeds)])
    run.keep(found)
    for name in (auroc, f"comparison/{model}-nested-fixed/grouped/auroc", best):
        print(f"{name:48} {found[name]}")
    run.table(f"{model}_nested_choices", choices.assign(model=model))
    return readable(choices).set_index(["seed", "fold"])
