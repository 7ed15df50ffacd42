"""The peer of ``ffr score`` on inference files: json, re and sets, as one would write it.

Prints the micro counts of both modalities under protocol ``official``.
"""

import json
import re
import sys

MARKED = {
    "utterance": re.compile(r"<\|utt_id_start\|>(\d+)<\|utt_id_end\|>"),
    "image": re.compile(r"<\|img_id_start\|>(\d+)<\|img_id_end\|>"),
}
ANSWER = {
    "utterance": re.compile(r"<\|utt_ids_start\|>(.*?)<\|utt_ids_end\|>"),
    "image": re.compile(r"<\|img_ids_start\|>(.*?)<\|img_ids_end\|>"),
}


def read_ids(pattern: re.Pattern[str], text: str | None) -> set[int]:
    """The ids of an answer, none if it cannot be read."""
    match = pattern.search(text or "")
    try:
        return set(json.loads(match.group(1).strip())) if match else set()
    except (ValueError, TypeError):
        return set()


def main(path: str) -> None:
    """Score a file."""
    totals = {"utterance": [0, 0, 0, 0], "image": [0, 0, 0, 0]}
    with open(path, encoding="utf-8") as stream:  # noqa: PTH123
        for line in stream:
            record = json.loads(line)
            if "response" not in record:
                continue
            users = [m["content"] for m in record["messages"] if m["role"] == "user"]
            text = users[0] if users else ""
            for modality, total in totals.items():
                largest = max(map(int, MARKED[modality].findall(text)), default=20)
                everything = set(range(largest + 1))
                gold = read_ids(ANSWER[modality], record["labels"])
                answer = read_ids(ANSWER[modality], record["response"])
                total[0] += len(gold & answer)
                total[1] += len(answer - gold)
                total[2] += len(gold - answer)
                total[3] += len(everything - (gold | answer))
    print(json.dumps(totals))


if __name__ == "__main__":
    main(sys.argv[1])
