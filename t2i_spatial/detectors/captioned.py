"""What the two Grounding DINO backends share: captions in, token probabilities and boxes out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from t2i_spatial.detections import Detections
from t2i_spatial.detectors.base import Detector
from t2i_spatial.detectors.decode import RawBoxes, cxcywh_to_xyxy, to_detections
from t2i_spatial.detectors.loading import to_device
from t2i_spatial.detectors.phrase_grounding import Caption, CaptionBuilder, span_scores
from t2i_spatial.errors import InputError

if TYPE_CHECKING:
    import torch

PHRASE_SCORES = ("max", "mean")


class CaptionedDetector(Detector):
    """A detector that reads one caption of several phrases per image and pass.

    With more names than its token limit holds an image takes several passes, whose boxes are
    merged; in query mode "each" it takes one per name. A box has one label per pass: the phrase
    whose token span fits it best. Option `phrase_score`: "max" over the span (as the Grounding
    DINO repository's inference code) or "mean" (as its COCO evaluation).
    """

    default_threshold = 0.35
    builder: CaptionBuilder

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Accepts `phrase_score`."""
        known = {"phrase_score": "max", **options}
        if known["phrase_score"] not in PHRASE_SCORES:
            raise InputError(
                f"phrase_score must be one of {PHRASE_SCORES}, got {known['phrase_score']!r}"
            )
        super().check_options({k: v for k, v in options.items() if k != "phrase_score"})
        return known

    def refuse(self, name: str) -> str | None:
        """Empty, longer than the token limit, or of unknown words only."""
        return self.builder.refuse(name)

    @abstractmethod
    def run_model(
        self, pixels: torch.Tensor, captions: Sequence[Caption]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One pass.

        Args:
            pixels: (n, 3, h, w) float32 on the device.
            captions: n captions.

        Returns:
            (n, p, t) token probabilities and (n, p, 4) boxes, relative `cxcywh`.
        """

    def forward(
        self,
        prepared: Sequence[torch.Tensor],
        sizes: Sequence[tuple[int, int]],
        names: Sequence[Sequence[str]],
    ) -> RawBoxes:
        """As many passes as the image with the most captions needs."""
        import torch

        pixels = to_device(prepared, self.device)
        each = self.spec.query_mode == "each"
        captions = [self.builder.captions(asked, each=each) for asked in names]
        mean = self.spec.options.get("phrase_score") == "mean"
        passes = []
        for number in range(max(len(own) for own in captions)):
            members = [i for i, own in enumerate(captions) if number < len(own)]
            asked = [captions[i][number] for i in members]
            batch = pixels if len(members) == len(names) else pixels[members]
            tokens, boxes = self.run_model(batch, asked)
            scores, labels = span_scores(tokens.float(), asked, mean=mean)
            passes.append(_spread(scores, labels, boxes.float(), members, len(names)))
        scores, labels, boxes = (torch.cat(parts, dim=1) for parts in zip(*passes, strict=True))
        scale = torch.tensor([(w, h, w, h) for w, h in sizes], dtype=torch.float32)
        scaled = cxcywh_to_xyxy(boxes) * scale.to(boxes.device)[:, None, :]
        return RawBoxes(scores, labels, scaled, sizes, names)

    def collect(self, raw: RawBoxes) -> list[Detections]:
        """One `Detections` per image, best first."""
        return to_detections(raw, self.spec.threshold, self.spec.nms)


def _spread(
    scores: torch.Tensor,
    labels: torch.Tensor,
    boxes: torch.Tensor,
    members: Sequence[int],
    count: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows of the images that took part in a pass, zero scores for the others."""
    if len(members) == count:
        return scores, labels, boxes
    whole = scores.new_zeros(count, scores.shape[1])
    words = labels.new_zeros(count, labels.shape[1])
    places = boxes.new_zeros(count, *boxes.shape[1:])
    whole[members], words[members], places[members] = scores, labels, boxes
    return whole, words, places
