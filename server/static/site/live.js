"use strict";
// A live part is asked for again with the ETag of what is shown: "304, nothing new" swaps nothing.
document.addEventListener("htmx:configRequest", (event) => {
  const tag = event.target.dataset.etag;
  if (tag) event.detail.headers["If-None-Match"] = tag;
});
