"""The datasets that can be fetched: where they are, and what is known of them.

Only what was found stated is here; what is not known is ``None``, and the user can give it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ffr_eval.benchmark import InfoRecord

_CITATION: Final = (
    "Hanbo Bi, Zhiqiang Yuan, Zexi Jia, Jiapei Zhang, Chongyang Li, Peixiang Luo, Ying Deng,"
    " Xiaoyue Duan, Jinchao Zhang. F2RVLM: Boosting Fine-grained Fragment Retrieval for"
    " Multi-Modal Long-form Dialogue with Vision Language Model. arXiv:2508.17714, 2025."
)
_PROJECT: Final = "https://github.com/HanboBizl/FFRS.github.io"
# The project's README ("License") says that LICENSE.md has the terms; the file was not at hand.
_LICENCE: Final = f"see LICENSE.md of {_PROJECT}"

# Addresses: README.md of github.com/HanboBizl/FFRS.github.io ("Download Links"), commit
# 247bdc3b620f7b926a8d57e50df77d4e25841bb1. Neither it nor f2rvlm.github.io, arXiv 2508.17714 or
# arXiv 2606.04591 gives a checksum or a size. (huggingface.co/datasets/Shitao/MLDR is another
# dataset of the same short name: multilingual document retrieval.)
_STORE: Final = "https://sprproxy-1258344707.cos.ap-shanghai.myqcloud.com/hanbobi"


@dataclass(frozen=True, slots=True)
class ReleasedFile:
    """An archive of a release.

    Attributes:
        name: Its file name in the downloads folder.
        url: Where it was published, if that is known.
        sha256: Its published checksum, if there is one.
    """

    name: str
    url: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """A dataset of the original release.

    Attributes:
        archives: The archives it consists of.
        info: ``benchmark.json`` of the imported folder.
        default_split: The split of files whose name says none; ``None`` to refuse them.
    """

    archives: tuple[ReleasedFile, ...]
    info: InfoRecord
    default_split: str | None = None


RELEASES: Final = {
    # Files named in Swift/scripts of the project: MLDR/MLDR_train_cold_start.json,
    # MLDR/MLDR_train_GRPO.json, MLDR/MLDR_val.json; where the images are is not stated.
    "mldr": Release(
        archives=(ReleasedFile("MLDR.tar", f"{_STORE}/MLDR.tar"),),
        info=InfoRecord(
            name="mldr",
            licence=_LICENCE,
            citation=_CITATION,
            description="MLDR, synthetic multimodal long-form dialogues, as released by its"
            f" authors ({_PROJECT}).",
        ),
    ),
    # Only the test set was released; the names of the files inside are not stated.
    "wechat-mdr": Release(
        archives=(ReleasedFile("WeChat_test_set.tar", f"{_STORE}/WeChat_test_set.tar"),),
        info=InfoRecord(
            name="wechat-mdr",
            licence=_LICENCE,
            citation=_CITATION,
            description="WeChat-MDR, a test set of chats of 12 volunteers, as released by its"
            f" authors ({_PROJECT}); it has no affiliation with the WeChat platform.",
        ),
        default_split="test",
    ),
}
