"""What the figures mean, as the page shows it; docs/metrics.md says the same at length."""

from __future__ import annotations

import streamlit as st


def show_definitions() -> None:
    """Formulas, the two protocols, and the cases in which nothing is defined."""
    st.markdown(
        "A model returns a set of utterance ids and a set of image ids. For a sample and a"
        " modality, **G** is the gold set, **P** the predicted one, **U** all ids there are."
    )
    left, right = st.columns(2)
    with left:
        st.latex(r"tp = |G \cap P| \qquad fp = |P \setminus G|")
        st.latex(r"fn = |G \setminus P| \qquad tn = |U \setminus (G \cup P)|")
        st.latex(r"\mathrm{precision} = \frac{tp}{tp+fp} \qquad \mathrm{recall} = \frac{tp}{tp+fn}")
    with right:
        st.latex(r"F_1 = \frac{2\,tp}{2\,tp + fp + fn}")
        st.latex(
            r"\mathrm{MCC} = \frac{tp \cdot tn - fp \cdot fn}"
            r"{\sqrt{(tp+fp)(tp+fn)(tn+fp)(tn+fn)}}"
        )
    st.markdown(
        """
* **Joint** figures put the two modalities together: precision and recall are harmonic means of
  the two, F1 and MCC arithmetic means.
* **micro** sums the counts over all samples and takes the figures once. **macro** takes the
  figures of each sample and averages them.
* The headline is the **micro joint F1**. Macro rewards silence: where a quarter of the queries have
  no answer and some have no image, a model that never answers does well.
"""
    )
    st.markdown("##### The two protocols")
    st.markdown(
        """
| | strict (ours) | official (as the original release) |
|---|---|---|
| U | the ids that the dialogue has | 0 to the largest id; 0 to 20 where the dialogue has none |
| an invented id | false positive, outside U | false positive, outside U |
| a repeated id | counts once | counts once |
| reading an answer | lenient | the original's regular expression and JSON |
| no usable answer | predicts nothing; macro 0 even where the gold is empty | an empty answer |
| micro, nothing to count | undefined (–), left out of the joint | 0 |
| macro, gold and prediction empty | 1 if the model did answer | 1 |
| macro, the dialogue lacks the modality | left out; 0 if ids were invented | as any other |
| macro MCC where the gold is empty or all of U | left out | 0 where undefined |
| macro MCC, an invented id | false positive | dropped |

Everywhere else a fraction that is undefined is 0: no small number is ever added to a denominator.
"""
    )
    st.markdown("##### When a figure is “–”")
    st.markdown(
        "Nothing is there to be counted: for example, the retrieval figures of queries without any"
        " answer, or image figures where no dialogue has images. It is not a zero, and such a run"
        " gets no rank."
    )
    st.markdown("##### Outcomes")
    st.markdown(
        "`ok` and `empty` (the model said: nothing matches) are answers. `parse_error`, `refusal`,"
        " `truncated`, `context_overflow`, `request_error` and `missing` are not: such a sample"
        " stays in the denominator and predicts nothing. A run with more than 5% `request_error`"
        " is incomplete and gets no rank."
    )
    st.markdown("##### Groups")
    st.markdown(
        "Turns: short has fewer than 35, medium 35 to 65, long more than 65. Kind: what the gold"
        " holds (utterances, images, both, nothing). Language: that of the dialogue."
    )
