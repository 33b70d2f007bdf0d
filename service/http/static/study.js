// The chat panel of a study: questions by POST, answers as server-sent events, boxes in pixels of the stored image.
"use strict";
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const at = (id) => document.getElementById(id);
  const [log, form, question, image, state] = ["log", "ask", "question", "image", "state"].map(at);
  const SVG = "http://www.w3.org/2000/svg";
  let conversation = null;
  let turns = 0;

  // Text of a model or a person only ever becomes text of the page.
  const put = (parent, tag, text, kind) => {
    const made = parent.appendChild(document.createElement(tag));
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  const hideBoxes = () => document.querySelectorAll("rect.chat").forEach((rect) => rect.remove());

  const showBoxes = (uid, boxes) => {
    hideBoxes();
    const picture = [...document.querySelectorAll(".picture")].find((each) => each.dataset.image === uid);
    if (!picture) return;
    for (const box of boxes) {
      const rect = document.createElementNS(SVG, "rect");
      const sides = { x: box.x0, y: box.y0, width: box.x1 - box.x0, height: box.y1 - box.y0 };
      for (const [name, value] of Object.entries(sides)) rect.setAttribute(name, value);
      rect.classList.add("chat");
      picture.querySelector("svg").append(rect);
    }
  };

  const showTurn = (asked) => {
    const article = log.appendChild(document.createElement("article"));
    put(article, "p", asked, "asked");
    const said = put(article, "p", "", "said");
    log.scrollTop = log.scrollHeight;
    return { article, said };
  };

  const showAnswer = (shown, answer) => {
    const { article, said } = shown;
    if (answer.state === "failed" || answer.text === undefined) {
      said.remove();
      put(article, "p", `No answer: ${answer.message || answer.state || "not answered"}`, "bad");
    } else {
      said.textContent = answer.text;
      for (const sentence of answer.sentences)
        for (const check of sentence.checks)
          if (check.status === "warn" || check.status === "fail")
            put(article, "p", `${check.status}: ${check.evidence} (${check.name})`, check.status === "fail" ? "small bad" : "small warn");
      if (answer.malformed) put(article, "p", "The answer does not have the form its question asks for.", "small warn");
      const boxes = answer.boxes_px || [];
      if (boxes.length) {
        const where = boxes.map((b) => `(${Math.round(b.x0)}, ${Math.round(b.y0)}) to (${Math.round(b.x1)}, ${Math.round(b.y1)})`).join("; ");
        const again = put(article, "button", `Show ${boxes.length === 1 ? "the box" : `${boxes.length} boxes`}`);
        again.type = "button";
        again.addEventListener("click", () => showBoxes(answer.image, boxes));
        put(article, "span", ` pixels ${where}`, "small");
      }
    }
    log.scrollTop = log.scrollHeight;
  };

  const say = (text) => { state.textContent = text; };

  const leave = () => {
    const left = facts.max_turns - turns;
    say(left > 0 ? `${left} of ${facts.max_turns} questions left` : "This conversation is full; begin a new one.");
  };

  // Events of the HTML Living Standard 9.2.6, as far as this service writes them.
  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (held + value).split("\n\n");
      held = parts.pop();
      for (const part of parts) {
        const found = /^event: (\w+)\ndata: (.*)$/s.exec(part);
        if (found) yield [found[1], JSON.parse(found[2])];
      }
    }
  }

  async function ask(text) {
    const shown = showTurn(text);
    const uid = image.value;
    say("Waiting for the model ...");
    const reply = await fetch(facts.chat, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
      body: JSON.stringify({ question: text, conversation, image: uid }),
    });
    if (!reply.ok) {
      const told = await reply.json().catch(() => ({}));
      const message = told.message || (typeof told.detail === "string" ? told.detail : `HTTP ${reply.status}`);
      showAnswer(shown, { state: "failed", message });
      say("");
      return;
    }
    for await (const [name, data] of events(reply.body)) {
      if (name === "turn") { conversation = data.conversation; turns = data.number; }
      if (name === "text") shown.said.textContent += (shown.said.textContent ? " " : "") + data.text;
      if (name === "answer") {
        showAnswer(shown, data);
        if (data.boxes_px && data.boxes_px.length) showBoxes(uid, data.boxes_px);
      }
      if (name === "error") showAnswer(shown, { state: "failed", message: data.message });
    }
    leave();
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = question.value.trim();
    const button = form.querySelector("[type=submit]");
    if (!text || button.disabled) return;
    button.disabled = true;
    question.value = "";
    try {
      await ask(text);
    } catch (error) {
      say(`The question was not sent: ${error.message}`);
    } finally {
      button.disabled = false;
      question.focus();
    }
  });
  question.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideBoxes(); });
  const anew = () => { conversation = null; turns = 0; hideBoxes(); leave(); };
  at("anew").addEventListener("click", () => { anew(); question.focus(); });
  at("hide").addEventListener("click", hideBoxes);
  image.addEventListener("change", anew);

  // What was asked before, by anybody: read, not gone on with.
  fetch(facts.conversations).then(async (reply) => {
    if (!reply.ok) return;
    for (const turn of await reply.json()) {
      const shown = showTurn(turn.question || "(the text was deleted after its time)");
      put(shown.article, "p", `${turn.asked_by}, ${turn.asked_at_utc.slice(0, 16).replace("T", " ")} UTC, model ${turn.model.name} ${turn.model.version}`, "small");
      showAnswer(shown, turn);
    }
  }).catch(() => say("Earlier questions could not be loaded."));
  leave();
})();
