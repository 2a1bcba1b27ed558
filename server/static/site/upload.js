"use strict";
// Sends a file in parts through the API, goes on after a broken connection, then submits it.
(() => {
  const form = document.querySelector("form[data-upload]");
  if (!form) return;
  const $ = (name) => form.querySelector(`[data-${name}]`);
  const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
  const RETRIES = 8;
  let running = null; // the upload's address while bytes are on their way
  let stopped = false;
  let request = null;

  form.querySelector("fieldset").disabled = false;

  class Refusal extends Error {}

  function send(method, url, { body = null, headers = {}, onprogress = null } = {}) {
    return new Promise((resolve, reject) => {
      request = new XMLHttpRequest();
      request.open(method, url);
      request.setRequestHeader("X-CSRFToken", token);
      request.setRequestHeader("Accept", "application/json");
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      if (onprogress) request.upload.onprogress = onprogress;
      request.onload = (event) => resolve(event.target);
      request.onerror = () => reject(new Error("The connection broke."));
      request.onabort = () => reject(new Refusal("Stopped."));
      request.send(body);
    });
  }

  function sentence(answer) {
    try {
      return JSON.parse(answer.responseText).detail;
    } catch {
      return `The server answered ${answer.status}. Try again in a minute.`;
    }
  }

  // A refusal ends the upload with the server's sentence; a fault of the network or server is tried again.
  function judged(answer) {
    if (answer.status < 400) return answer;
    if (answer.status >= 500 && answer.status !== 507) throw new Error(sentence(answer));
    throw new Refusal(sentence(answer));
  }

  const json = async (method, url, data) => JSON.parse(judged(await send(method, url, {
    body: JSON.stringify(data), headers: { "Content-Type": "application/json" },
  })).responseText);

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

  function meter(total, from) {
    const began = performance.now();
    let told = -1;
    return (sent) => {
      const share = total ? sent / total : 1;
      $("progress").value = share;
      const rate = (1000 * (sent - from)) / Math.max(1, performance.now() - began);
      const left = rate > 0 ? `, ${size(rate)}/s, about ${duration((total - sent) / rate)} left` : "";
      $("detail").textContent = `${size(sent)} of ${size(total)}${sent < total ? left : ""}`;
      const tenth = Math.floor(share * 10);
      if (tenth > told) { told = tenth; say(`${tenth * 10} % uploaded`); }
    };
  }

  async function offsetOf(url) {
    const answer = await send("HEAD", url);
    if (answer.status === 404) return null;
    if (answer.status >= 400) throw new Error("The server did not say how far the upload is.");
    return Number(answer.getResponseHeader("Upload-Offset"));
  }

  const pause = (s) => new Promise((resolve) => setTimeout(resolve, 1000 * s));

  async function sendParts(file, url, offset, part) {
    const show = meter(file.size, offset);
    let failures = 0;
    show(offset);
    while (offset < file.size) {
      try {
        const from = offset;
        const body = file.slice(from, from + part);
        const answer = await send("PATCH", url, {
          body,
          headers: { "Content-Type": "application/offset+octet-stream", "Upload-Offset": String(from) },
          onprogress: (event) => show(from + Math.min(event.loaded, body.size)),
        });
        if (answer.status === 409) offset = await resumed(url, sentence(answer), offset);
        else offset = Number(judged(answer).getResponseHeader("Upload-Offset"));
        failures = 0;
        show(offset);
      } catch (error) {
        if (error instanceof Refusal || stopped || ++failures > RETRIES) throw error;
        say(`${error.message} Going on in ${2 ** failures / 2} s.`);
        await pause(2 ** failures / 2);
        offset = (await offsetOf(url).catch(() => offset)) ?? offset;
      }
    }
  }

  // The server has another offset than we believed: go on from there, unless that is where we are.
  async function resumed(url, refusal, offset) {
    const known = await offsetOf(url);
    if (known === null || known === offset) throw new Refusal(refusal);
    return known;
  }

  const fields = () => ({
    challenge: form.dataset.challenge,
    phase: form.elements.phase.value,
    team: form.elements.team.value,
  });
  const memory = (file) => {
    const { challenge, phase, team } = fields();
    return ["upload", challenge, phase, team, file.name, file.size, file.lastModified].join("/");
  };

  async function begun(file) {
    const known = localStorage.getItem(memory(file));
    if (known) {
      const { url, part } = JSON.parse(known);
      const offset = await offsetOf(url);
      if (offset !== null) return { url, part, offset };
      localStorage.removeItem(memory(file));
    }
    const made = await json("POST", form.dataset.uploads, { ...fields(), filename: file.name, size: file.size });
    const url = `${form.dataset.uploads}${made.id}/`;
    localStorage.setItem(memory(file), JSON.stringify({ url, part: made.part_size }));
    return { url, part: made.part_size, offset: made.offset };
  }

  async function submitted(file) {
    const { url, part, offset } = await begun(file);
    running = url;
    await sendParts(file, url, offset, part);
    say("All bytes are there. They are being verified.");
    const upload = await json("POST", `${url}finish/`, {});
    const made = await json("POST", form.dataset.submissions, {
      upload: upload.id,
      method: form.elements.method.value,
      description: form.elements.description.value,
    });
    running = null;
    localStorage.removeItem(memory(file));
    return made;
  }

  function busy(yes) {
    form.querySelector("fieldset").disabled = yes;
    $("send").hidden = yes;
    $("meter").hidden = !yes;
    if (yes) $("meter").scrollIntoView({ block: "nearest" });
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = form.elements.file.files[0];
    if (!file) return;
    stopped = false;
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
      explain($("refusal"), stopped ? "The upload was stopped, and its bytes were removed."
        : error instanceof Refusal ? error.message
        : `${error.message} What arrived is kept: choose the same file and send it again to go on.`);
      $("refusal").focus();
    }
  });

  $("stop").addEventListener("click", async () => {
    const url = running;
    const file = form.elements.file.files[0];
    stopped = true;
    request?.abort();
    localStorage.removeItem(memory(file));
    if (url) await send("DELETE", url).catch(() => null);
  });

  window.addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
})();
