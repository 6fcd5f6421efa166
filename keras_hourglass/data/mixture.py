"""Several data sets as one: joints are matched by name."""

from collections.abc import Sequence

import numpy as np

from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import UserError, did_you_mean, listed
from keras_hourglass.skeletons import PEOPLE, Skeleton, get_skeleton

_MOST_TURNS = 10_000  # of everybody in an epoch


def mix_records(parts: Sequence, skeleton: Skeleton | str | None = None) -> PoseRecords:
    """Join records of several data sets.

    Args:
        parts: pairs `(PoseRecords, share)`: a share of 3 shows everybody three times in an
            epoch, 0.5 every other person once.
        skeleton: the joints to have, by name or as a `Skeleton`; by default those of the sets,
            in order of appearance, which is the sets' own skeleton where they agree.

    Returns:
        `PoseRecords`. Joints a set lacks have visibility 0 and weight 0, so they teach nothing.
        `extra` holds `part`, the position of the set in `parts`, and `image_number`.

    Raises:
        UserError: if there are no parts, a share is not positive, or a set has none of the
            joints.

    Example:

    >>> from keras_hourglass.data.figures import synthetic_records
    >>> one = synthetic_records(num=4, seed=1)
    >>> len(mix_records([(one, 1), (one, 2.5)]))
    14
    """
    parts = list(parts)
    check_shares(parts)
    found = [records.skeleton for records, _ in parts]
    skeleton = _union(found) if skeleton is None else get_skeleton(skeleton)
    chosen = []
    for number, (records, share) in enumerate(parts):
        records = match_joints(records, skeleton)
        index, turn = repeat(len(records), share)
        chosen.append((records.select(index), turn, number))
    return _concatenate(chosen, skeleton)


def match_joints(records: PoseRecords, skeleton: Skeleton) -> PoseRecords:
    """Records with the joints of another skeleton, matched by name.

    Args:
        records: `PoseRecords`.
        skeleton: the `Skeleton` to have; joints that the records lack get weight 0.

    Returns:
        `PoseRecords`.

    Raises:
        UserError: if no joint has the same name.

    Example:

    >>> from keras_hourglass.data.figures import synthetic_records
    >>> match_joints(synthetic_records(num=3, seed=1), get_skeleton("mpii")).joints.shape
    (3, 16, 2)
    """
    if records.skeleton == skeleton:
        return records
    common = [joint for joint in skeleton.joints if joint in records.skeleton.joints]
    if not common:
        raise UserError(
            f"The skeletons {records.skeleton.name!r} and {skeleton.name!r} have no joint in "
            f"common. Received: {listed(records.skeleton.joints, 4)}. Rename the joints."
        )
    to = [skeleton.index(joint) for joint in common]
    of = [records.skeleton.index(joint) for joint in common]
    shape = (len(records), skeleton.num_joints)
    joints, visibility, weights = np.zeros((*shape, 2)), np.zeros(shape, np.int8), np.zeros(shape)
    joints[:, to] = records.joints[:, of]
    visibility[:, to] = records.visibility[:, of]
    weights[:, to] = records.weights[:, of]
    return records.with_columns(
        skeleton=skeleton, joints=joints, visibility=visibility, weights=weights
    )


def keep_joints(records: PoseRecords, names: Sequence[str]) -> PoseRecords:
    """Records in which only some joints are labelled, so that only these are measured.

    Args:
        records: `PoseRecords`.
        names: joints, or groups of joints, of their skeleton.

    Returns:
        `PoseRecords`; lengths that normalise distances stay.

    Raises:
        UserError: if the skeleton has no joint or group of a name.

    Example:

    >>> from keras_hourglass.data.figures import synthetic_records
    >>> kept = keep_joints(synthetic_records(num=3, seed=1), ["head", "left_knee"])
    >>> kept.visibility.any(axis=0).nonzero()[0].tolist()
    [4, 12, 13]
    """
    wanted = names_of(records.skeleton, names)
    kept = np.isin(records.skeleton.joints, wanted)
    return records.with_columns(visibility=np.where(kept, records.visibility, 0))


def names_of(skeleton: Skeleton, names: Sequence[str]) -> list[str]:
    """The joints that names of joints or groups of joints mean.

    Args:
        skeleton: the `Skeleton` that has them.
        names: the names; a group's comes before a joint's.

    Returns:
        Names of joints.

    Raises:
        UserError: if there is no joint or group of a name.

    Example:

    >>> names_of(get_skeleton("lsp"), ["wrist", "neck"])
    ['right_wrist', 'left_wrist', 'neck']
    """
    groups, found = dict(skeleton.groups), []
    for name in names:
        if name not in groups and name not in skeleton.joints:
            known = tuple(dict.fromkeys((*groups, *skeleton.joints)))
            raise UserError(
                f"Skeleton {skeleton.name!r} has no such joint or group. Received: {name!r}. "
                f"Choose of {', '.join(known)}.{did_you_mean(name, known)}"
            )
        found += groups.get(name, (name,))
    return found


def _union(skeletons):
    """All joints in order of appearance; limbs and groups of the sets that have all of theirs."""
    first = skeletons[0]
    if all(skeleton.joints == first.joints for skeleton in skeletons):
        return first
    largest = max(skeletons, key=lambda skeleton: skeleton.num_joints)
    if all(set(skeleton.joints) <= set(largest.joints) for skeleton in skeletons):
        return largest
    joints = tuple(dict.fromkeys(joint for skeleton in skeletons for joint in skeleton.joints))
    if joints == PEOPLE.joints:
        return PEOPLE
    limbs = dict.fromkeys(limb for skeleton in skeletons for limb in skeleton.limbs)
    name = "+".join(dict.fromkeys(skeleton.name for skeleton in skeletons))
    return Skeleton(name, joints, tuple(limbs), reference=first.reference)


def check_shares(parts: Sequence) -> None:
    """Refuse a mixture without parts, or with a part that nobody would see.

    Args:
        parts: pairs of records and their share.

    Raises:
        UserError: if there are no parts, or a share is not positive.

    Example:

    >>> check_shares([("records", 0.5)])
    """
    if not parts or any(not 0 < share <= _MOST_TURNS for _, share in parts):
        raise UserError(
            f"A mixture needs at least one data set, each with a positive share of at most "
            f"{_MOST_TURNS:,}. "
            f"Received: shares {[share for _, share in parts]}."
        )


def repeat(count: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of `share` times `count` people, evenly spread, and which copy each is.

    Args:
        count: people, or photographs, of a data set.
        share: how often each is shown in an epoch.

    Returns:
        Two integer arrays of `share * count` entries, rounded.

    Example:

    >>> [part.tolist() for part in repeat(2, 1.5)]
    [[0, 1, 0], [0, 0, 1]]
    """
    whole = int(share)
    index = np.tile(np.arange(count), whole)
    turn = np.repeat(np.arange(whole), count)
    rest = round((share - whole) * count)
    if rest:
        spread = np.arange(rest) * count // rest
        index, turn = np.append(index, spread), np.append(turn, np.full(rest, whole))
    return index, turn


def _concatenate(chosen, skeleton):
    records = [part for part, _, _ in chosen]

    def joined(name):
        return np.concatenate([getattr(part, name) for part in records])

    ids = [
        f"{number}:{key}" + (f"#{copy + 1}" if copy else "")
        for part, turn, number in chosen
        for key, copy in zip(part.ids, turn, strict=True)
    ]
    numbered = [part.extra.get("image_number", np.arange(1, len(part) + 1)) for part in records]
    extra = {
        "part": np.concatenate([np.full(len(part), number) for part, _, number in chosen]),
        "image_number": np.concatenate(numbered),
    }
    areas = None
    if all(part.areas is not None for part in records):
        areas = joined("areas")
    columns = ("images", "boxes", "joints", "visibility", "reference", "weights")
    return PoseRecords(
        skeleton,
        ids=ids,
        areas=areas,
        extra=extra,
        notes=tuple(note for part in records for note in part.notes),
        remarks=tuple(remark for part in records for remark in part.remarks),
        **{name: joined(name) for name in columns},
    )
