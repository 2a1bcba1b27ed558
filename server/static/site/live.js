"use strict";
// Live parts are asked for again with the ETag of what is shown; "304, nothing new" swaps nothing.
document.addEventListener("htmx:configRequest", (event) => {
  const tag = event.target.dataset.etag;
  if (tag) event.detail.headers["If-None-Match"] = tag;
});
document.addEventListener("htmx:afterRequest", (event) => {
  const tag = event.detail.xhr.getResponseHeader("ETag");
  if (tag) event.target.dataset.etag = tag;
});
