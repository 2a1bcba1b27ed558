"use strict";
// Sends a file in parts (tus), goes on after a broken connection or another day, then submits it.
(() => {
  const form = document.querySelector("form[data-upload]");
  if (!form) return;
  const $ = (name) => form.querySelector(`[data-${name}]`);
  const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
  const PART = 64 * 2 ** 20;
  const PAUSES = [0, 1000, 2000, 4000, 8000, 15000, 30000, 30000, 30000]; // milliseconds; from the first again after progress
  let running = null; // the upload while bytes are on their way
  let stop = null; // ends the wait for it

  form.querySelector("fieldset").disabled = false;

  class Refusal extends Error {
    constructor(sentence, code) {
      super(sentence);
      this.code = code;
    }
  }

  // The server's own words and its code for programs.
  function words(status, body) {
    try {
      const problem = JSON.parse(body);
      return { sentence: problem.detail, code: problem.code };
    } catch {
      return { sentence: `The server answered ${status}. Try again in a minute.`, code: "" };
    }
  }

  async function json(method, url, data) {
    const headers = { "X-CSRFToken": token, Accept: "application/json", "Content-Type": "application/json" };
    const answer = await fetch(url, { method, headers, body: JSON.stringify(data), credentials: "same-origin" });
    const body = await answer.text();
    if (answer.ok) return JSON.parse(body);
    const { sentence, code } = words(answer.status, body);
    throw new Refusal(sentence, code);
  }

  const size = (bytes) => {
    const units = ["bytes", "KB", "MB", "GB", "TB"];
    const step = bytes < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
    return `${(bytes / 1000 ** step).toFixed(step > 1 ? 1 : 0)} ${units[step]}`;
  };
  const duration = (s) => (s < 90 ? `${Math.ceil(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);

  // Sentences name commands between backticks: every second piece is code.
  function explain(place, text) {
    place.replaceChildren(...text.split("`").map((piece, index) => {
      if (index % 2 === 0) return piece;
      const code = document.createElement("code");
      code.textContent = piece;
      return code;
    }));
  }

  function say(text) { $("status").textContent = text; }

  // Shows how far it is; the rate counts from the first figure, which is not 0 if an upload goes on.
  function meter() {
    let began = null;
    let from = 0;
    let told = -1;
    return (sent, total) => {
      if (began === null) { began = performance.now(); from = sent; }
      const share = total ? sent / total : 1;
      $("progress").value = share;
      const rate = (1000 * (sent - from)) / Math.max(1, performance.now() - began);
      const left = rate > 0 ? `, ${size(rate)}/s, about ${duration((total - sent) / rate)} left` : "";
      $("detail").textContent = `${size(sent)} of ${size(total)}${sent < total ? left : ""}`;
      const tenth = Math.floor(share * 10);
      if (tenth > told) { told = tenth; say(`${tenth * 10} % uploaded`); }
    };
  }

  const fields = () => ({
    challenge: form.dataset.challenge,
    phase: form.elements.phase.value,
    team: form.elements.team.value,
  });

  // What the browser remembers an upload by: another phase or team is another upload.
  async function fingerprint(file) {
    const { challenge, phase, team } = fields();
    return ["upload", challenge, phase, team, file.name, file.size, file.lastModified].join("/");
  }

  const refusal = (error) => {
    const answer = error.originalResponse;
    return answer ? words(answer.getStatus(), answer.getBody()) : null;
  };

  // A fault of the network or server is tried again, and so is what passes by itself.
  function passes(error) {
    const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
    const again = status === 0 || (status >= 500 && status !== 507) || [423, 429, 460].includes(status)
      || (status === 409 && refusal(error).code === "wrong_offset");
    if (again) say("The connection broke. Going on in a moment.");
    return again;
  }

  function sending(file) {
    return new Promise((resolve, reject) => {
      stop = () => reject(new Refusal("Stopped.", "stopped"));
      const upload = new tus.Upload(file, {
        endpoint: form.dataset.uploads,
        metadata: { ...fields(), filename: file.name },
        headers: { "X-CSRFToken": token, Accept: "application/json" },
        chunkSize: PART,
        retryDelays: PAUSES,
        fingerprint,
        removeFingerprintOnSuccess: false, // only once it is submitted
        onShouldRetry: passes,
        onProgress: meter(),
        onSuccess: () => resolve(upload),
        onError: (error) => {
          const said = refusal(error);
          reject(said ? new Refusal(said.sentence, said.code) : new Error("The connection broke."));
        },
      });
      running = upload;
      upload.findPreviousUploads().then((earlier) => {
        if (earlier.length) upload.resumeFromPreviousUpload(earlier[earlier.length - 1]);
        upload.start();
      }, reject);
    });
  }

  async function forget(upload) {
    for (const { urlStorageKey } of await upload.findPreviousUploads()) {
      await tus.defaultOptions.urlStorage.removeUpload(urlStorageKey);
    }
  }

  // The digest is verified after this, and the check waits for it: nobody has to keep the page open.
  async function submitted(file) {
    const upload = await sending(file);
    running = null;
    say("All bytes are there.");
    const key = upload.url.replace(/\/$/, "").split("/").pop();
    try {
      const made = await json("POST", form.dataset.submissions, {
        upload: key,
        method: form.elements.method.value,
        description: form.elements.description.value,
      });
      await forget(upload);
      return made;
    } catch (error) {
      if (["already_submitted", "upload_not_finished", "not_found"].includes(error.code)) await forget(upload);
      throw error;
    }
  }

  function busy(yes) {
    form.querySelector("fieldset").disabled = yes;
    $("send").hidden = yes;
    $("meter").hidden = !yes;
    if (yes) $("meter").scrollIntoView({ block: "nearest" });
  }

  const KEPT = "What arrived is kept for seven days: choose the same file and send it again to go on.";

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = form.elements.file.files[0];
    if (!file) return;
    $("refusal").hidden = true;
    busy(true);
    say("The upload begins.");
    try {
      const made = await submitted(file);
      say("Submitted.");
      location.assign(new URL(made.url).pathname);
    } catch (error) {
      running = null;
      busy(false);
      $("refusal").hidden = false;
      explain($("refusal"), error.code === "stopped" ? "The upload was stopped, and its bytes were removed."
        : error instanceof Refusal ? error.message : `${error.message} ${KEPT}`);
      $("refusal").focus();
    }
  });

  $("stop").addEventListener("click", async () => {
    const upload = running;
    running = null;
    if (upload) {
      await upload.abort(true).catch(() => null);
      await forget(upload);
    }
    stop?.();
  });

  window.addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
})();
