"use strict";
// The browser refuses to make HTML out of any text on this page (require-trusted-types-for), so no name from a
// trace can become an element. The one text allowed is the empty one, with which the charts clear their box.
if (window.trustedTypes) {
  window.trustedTypes.createPolicy("default", { createHTML: (text) => (text === "" ? "" : null) });
}
