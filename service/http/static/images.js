// Dropping an image of a study: an operator gives the reason, and the page is shown anew.
"use strict";
(() => {
  const form = document.getElementById("drop");
  const told = document.getElementById("dropped");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const reply = await fetch(form.dataset.url, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ image: form.elements.image.value, reason: form.elements.reason.value }),
      });
      if (reply.ok) { location.reload(); return; }
      const answer = await reply.json().catch(() => ({}));
      told.textContent = `Not dropped: ${answer.message || `HTTP ${reply.status}`}`;
    } catch (error) {
      told.textContent = `Not dropped: ${error.message}`;
    }
    button.disabled = false;
  });
})();
