"""The painter of captioned portraits: endless, licence-free pictures with exactly known content."""

from sfumato.portraits.attributes import VALUES, Attributes, draw_attributes
from sfumato.portraits.captions import caption, mentioned
from sfumato.portraits.painter import paint
from sfumato.portraits.samples import sample

__all__ = ["VALUES", "Attributes", "caption", "draw_attributes", "mentioned", "paint", "sample"]
