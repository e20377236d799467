"""The fixed sentences of the report: what a section, a protocol and a metric are."""

from dataclasses import dataclass

NOTICE = (
    "For research and teaching only. Nothing here is a medical device, and no number here may guide the care of "
    "a patient."
)
SYNTHETIC = (
    "The films of this study are synthetic: they are drawn from a seed, with the label known by construction. "
    "Its numbers show that every step works, and how much each mistake is worth here. They show nothing about "
    "patients or about the paper's result."
)
PROTOCOLS: dict[str, str] = {
    "grouped": "The honest split: no group on both sides, knees with both labels left out. Headline numbers come from it.",
    "grouped_all": "The same folds, with the knees that have both labels kept in.",
    "grouped_knees": "The two knees of a person can lie on both sides. Only probes are fitted like this.",
    "by_file": "Groups are ignored, so one knee can be in training and in test. Most public notebooks split like this.",
    "augment_first": "Several views of each image are made first and then assigned to folds as if they were images.",
    "resubstitution": "Each image is scored by a network that was trained on it.",
    "train_in_test": "Split by file, then scored on the training images and the left-out ones together.",
    "tuned_on_test": "Epoch and threshold are chosen on the test fold itself.",
    "scaled_first": "Mean and spread of each feature are computed before splitting, from test images too.",
    "selected_inside": "Few features are chosen by their relation to the label, inside the training folds. No mistake.",
    "selected_first": "The same choice is made before splitting, on test images too.",
    "external": "The films of an external set, without those that show a knee of the study. They are scored by the "
    "models fitted under the honest split, with the logits of all folds averaged.",
}
METRICS: dict[str, str] = {
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "npv": "negative predictive value",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "auprc": "area under precision and recall",
    "brier": "Brier score",
    "files": "files",
    "knees": "knees",
    "groups": "groups",
    "conflicts": "conflicts",
    "quarantined": "files that cannot be used",
    "dice": "Dice overlap",
    "iou": "intersection over union",
}
ONE_SET = "One data set. Nothing here was tested on films of another hospital, detector or population."
LIMITS: list[str] = [
    "Copies are found from the films alone. Persons are known only where a table of patients was given, or a film that "
    "files were cut from. Elsewhere two knees of one person count as two groups. Then even the honest split can be too kind.",
    "The intervals resample groups and keep the fitted models. They include the luck of the sample, but not the luck "
    "of training. Only several split seeds show that.",
    "Every film is tested once and trained on in all other folds. If nothing can be learnt, the chance errors of two "
    "folds are therefore tied: each fold's films train the model that scores the other. An interval that takes "
    "predictions as given sees only half of the variance. Near chance it excludes 0.5 more often than once in twenty "
    "(on what cross-validation estimates: Bates, Hastie and Tibshirani, J Am Stat Assoc 2024). The comparison with "
    "shuffled labels is the better test of whether there is any signal.",
    "The paper gives no code, no split and no training settings. If our number differs from the paper's, that does "
    "not show how the paper's number came about.",
]


@dataclass(frozen=True)
class Exhibit:
    """A figure or table that a section expects: pattern of its name and what it shows.

    `columns` are the columns of a wide table that the report prints; empty for all.
    """

    pattern: str
    caption: str
    optional: bool = False
    columns: tuple[str, ...] = ()


# The columns that the report prints of the leakage lab's tables, and of the published results.
_OF_A_PROTOCOL = tuple("protocol value low high n_files n_groups above_grouped above_low above_high mistake".split())
_OF_A_RESULT = tuple("name site labels tested protocol metric value low high interval read".split())


@dataclass(frozen=True)
class Section:
    """A part of the report: its title, its opening, and its exhibits."""

    key: str
    title: str
    opening: str
    figures: tuple[Exhibit, ...] = ()
    films: tuple[Exhibit, ...] = ()
    tables: tuple[Exhibit, ...] = ()


def _named(**captions: str) -> tuple[Exhibit, ...]:
    """Figures or tables by their names, printed where they exist."""
    return tuple(Exhibit(name, caption, optional=True) for name, caption in captions.items())


def _model(key: str, name: str, opening: str, *beside: Exhibit) -> Section:
    return Section(
        key,
        name,
        opening,
        figures=(
            Exhibit(f"{key}*curve*", f"{name}: accuracy by epoch."),
            Exhibit(f"{key}*confusion*", f"{name}: labels against predictions."),
            Exhibit(f"{key}*roc*", f"{name}: receiver operating characteristic."),
            Exhibit(
                f"{key}_perturbed",
                f"{name}: AUROC, and the share of verdicts that change, when films of test folds are perturbed, one film "
                "per knee. The first point of each panel is the unchanged film.",
            ),
            Exhibit(f"{key}_*", f"{name}: {{name}}.", optional=True),
        ),
        films=(
            Exhibit(f"{key}*activation*", f"{name}: class activation maps on films of test folds, bone outlined."),
            Exhibit(f"{key}*views*", "One film as training sees it.", optional=True),
            Exhibit(f"{key}_perturbed*", "One film under every perturbation.", optional=True),
        ),
        tables=(
            Exhibit(f"{key}*classification*", f"{name}: classification report, in the form of the paper's Fig. 5."),
            *beside,
            Exhibit(f"{key}*overview*", f"{name} by protocol, recipe and variant.", optional=True),
            Exhibit(
                f"{key}_ablation",
                f"{name}: AUROC of the probe on other squares and depths of the same films. Differences are paired and "
                "taken from the study's square without its mirror image.",
                True,
                tuple("protocol name value low high difference difference_low difference_high p_holm".split()),
            ),
            Exhibit(
                f"{key}_perturbed",
                f"{name}: AUROC on perturbed films, its paired difference from the unchanged films, and the share of "
                "verdicts that change.",
                True,
                tuple(
                    "kind strength unit n_files value low high difference difference_low difference_high p_holm flipped "
                    "flipped_low flipped_high".split()
                ),
            ),
            Exhibit(f"{key}_calibration", f"{name}: calibration, and predictive values for one person in ten.", True),
            Exhibit(f"{key}_*", f"{name}: {{name}}.", optional=True),
        ),
    )


SECTIONS: tuple[Section, ...] = (
    Section(
        "data",
        "The data",
        "An image is one file. A group is all images of one person as far as persons are known, otherwise of one knee. A "
        "conflict is a knee with both labels.",
        figures=(
            Exhibit("flow", "From the files found to the knees analysed."),
            Exhibit("*class*count*", "Images of each class."),
            Exhibit("*group*", "Images that show the same knee."),
            Exhibit("*size*", "Sizes of the files."),
            Exhibit("*intensity*", "Grey levels of the two classes."),
            Exhibit("*fold*", "Classes in each fold."),
        ),
        films=(
            Exhibit("*sample*", "Films of both classes."),
            Exhibit("*copies*", "Films found to show the same knee, two of each knee.", optional=True),
            Exhibit("data_views*", "Films in the views that a network can see.", optional=True),
        ),
        tables=(
            Exhibit("*flow*", "From files to scored images."),
            Exhibit("audit_counts", "Files, groups, knees, copies and conflicts by class."),
            Exhibit("groups_inspected", "Knees of three or more files, weakest link first.", optional=True),
            *_named(
                data_files_by_class="Files of each class: used (ok), quarantined and excluded.",
                data_refused="Files that were refused, with the reason.",
                data_sizes="Width and height in pixels, height divided by width (shape), and size in kilobytes.",
                data_verification="Files compared with the published ones.",
            ),
            Exhibit("data_*", "{name}.", optional=True),
        ),
    ),
    Section(
        "segmentation",
        "Bone masks",
        "A U-Net trained on synthetic knees, or classical image analysis, separates bone from the rest of the film. The "
        "segmented variant of each model sees bone alone; the background variant sees all but the bone.",
        figures=(
            *_named(mask_trial="Both methods of finding bone, on synthetic knees of an unseen scanner."),
            Exhibit("*mask*", "How much of a film is bone.", optional=True),
        ),
        films=(
            *_named(
                mask_steps="From film to mask by edges.",
                mask_unet="What the U-Net sees: the probability of each bone.",
                masks_apart="The films on which the two methods agree least.",
                masks_doubtful="Flagged masks, then the least certain ones.",
                variants="Films whole, as bone alone, and as all but the bone.",
            ),
            Exhibit("*mask*", "A sample of plausible masks."),
        ),
        tables=(
            *_named(
                masks="The mask of each film: share of the film, pieces, certainty; place and width of the knee as shares.",
                mask_trial="Both methods on each synthetic knee of the unseen scanner.",
                mask_agreement="How far the two methods agree on each film (Dice).",
                mask_truth="Agreement of each mask with the truth of this synthetic study.",
            ),
            Exhibit("*mask*", "Bone masks.", True),
        ),
    ),
    Section(
        "shortcuts",
        "Known without a network",
        "How well the label is guessed, out of fold, from things that are not bone, and from named measures of bone "
        "texture. The first is shown beside the same with labels shuffled between knees. Compare a network's score with "
        "both.",
        figures=(Exhibit("known_without_networks", "What tells the classes apart without any network."),),
        tables=(
            Exhibit("known_without_networks", "The same in numbers."),
            Exhibit("texture_coefficients", "The coefficient of each measure of bone, per standard deviation."),
        ),
    ),
    _model("vgg16", "VGG16", "The first model of the paper (its Fig. 3 and 4)."),
    _model(
        "resnet50",
        "ResNet50",
        "The second model of the paper (its Fig. 5).",
        Exhibit("paper_fig5", "The classification report that the paper prints as Fig. 5."),
        Exhibit("fig5_matrices*", "All confusion matrices of whole images that print as Fig. 5 does."),
    ),
    Section(
        "ensemble",
        "The two combined",
        "Averaging and stacking of the two, on whole and on segmented films.",
        figures=(
            Exhibit("ensemble*roc*", "The two models and their combination."),
            *_named(
                ensemble_forest="Accuracy, ours and the paper's.",
                ensemble_precision_recall="Precision and recall of the two models and their combination.",
                ensemble_calibration="How far the probabilities can be trusted.",
                ensemble_decision="Net benefit of acting on a model.",
                ensemble_abstention="Accuracy on the films that are decided; the rest is left to a human.",
            ),
            Exhibit("ensemble*", "The combination: {name}.", optional=True),
        ),
        films=_named(ensemble_reading="One film, read by the networks that have not seen its knee."),
        tables=(
            *_named(
                ensemble_overview="The average and the stacked combiner under every split.",
                ensemble_combinations="All combinations under the honest split, and their difference from the single best.",
                ensemble_diversity="On how many films each model is right.",
                ensemble_resnet50_against_vgg16="ResNet50 minus VGG16 under every split.",
                ensemble_paired_tests="ResNet50 minus VGG16 by tests with different assumptions.",
                ensemble_two_by_two="Combining and segmenting, alone and together.",
                ensemble_two_by_two_effects="The effect of combining and of segmenting, each averaged over the other.",
                ensemble_calibration="Calibration of the probabilities.",
                ensemble_predictive_values="Predictive values where one person in 20, 10, 5 or 2 has osteoporosis.",
                ensemble_agreement="Films on which the two models agree, and the others.",
                ensemble_abstention="Accuracy on the films of which a model is most certain.",
                ensemble_subgroups="The average of the two models by kind of film.",
                ensemble_inventory="Number of predictions by protocol, recipe and variant.",
            ),
            Exhibit("ensemble*", "The combination in numbers.", optional=True),
        ),
    ),
    Section(
        "external",
        "External set",
        "The models score films of another source as they are. Nothing is fitted or chosen on these films.",
    ),
    Section(
        "leakage",
        "One mistake at a time",
        "One small network under each protocol. The network is the same in every row; only the split and the mistake "
        "differ.",
        figures=(
            Exhibit(
                "leakage*accuracy*",
                "The same network under each protocol, beside the paper's accuracy. Open dots contain a mistake.",
            ),
            Exhibit("leakage_shuffled", "The same with shuffled labels. Anything above one half is leakage.", True),
            Exhibit("leakage*", "Leakage: {name}.", optional=True),
        ),
        tables=(
            Exhibit("leakage", "Leakage in numbers.", optional=True, columns=_OF_A_PROTOCOL),
            Exhibit("leakage_shuffled", "The same with shuffled labels.", True, _OF_A_PROTOCOL),
            *_named(
                leakage_recipe="Accuracy on inner folds by penalty and epoch, from which the recipe was chosen.",
                leakage_truth="Accuracy against the label of the folder and against the true label.",
            ),
            Exhibit("leakage*", "Leakage: {name}.", optional=True),
        ),
    ),
    Section(
        "literature",
        "Among published results",
        "Results on these sets and on neighbouring tasks, each with its source and the part of it that was read. If a "
        "source prints no interval, it is computed where the number of images allows. Sites, labels and splits differ.",
        figures=(Exhibit("literature", "Published results, the paper among them, and this study.", optional=True),),
        tables=(Exhibit("literature", "The same in numbers.", True, _OF_A_RESULT),),
    ),
)
