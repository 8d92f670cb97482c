/* Keeps the live parts of a page as they are on the server. Without it the page is as it was when it was loaded. */
"use strict";
(() => {
  const parts = new Map([...document.querySelectorAll("[data-live]")].map((each) => [each.dataset.live, each]));
  const sign = document.getElementById("live");
  if (!parts.size || !sign || !window.EventSource) return;
  const waiting = new Map();  // name -> HTML that comes once nothing of the part is selected
  const RETRY = 15000;  // ms; the browser itself asks again only where the connection broke
  let source = null;

  const say = (text) => {
    if (sign.textContent !== text) sign.textContent = text;
  };
  const time = () => new Date().toISOString().slice(11, 19) + "Z";

  const isUsed = (part) => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
  };

  const replace = (part, html) => {
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.innerHTML = html;
    if (focused === null) return;
    const same = [...part.querySelectorAll("a[href]")].find((each) => each.getAttribute("href") === focused);
    if (same) same.focus({ preventScroll: true });
  };

  const show = () => {
    for (const [name, html] of waiting) {
      const part = parts.get(name);
      if (part && isUsed(part)) continue;
      waiting.delete(name);
      if (part) replace(part, html);
    }
  };

  const open = () => {
    source = new EventSource("/live?page=" + encodeURIComponent(location.pathname + location.search));
    source.onopen = () => say("Live");
    source.onmessage = (event) => {
      for (const [name, html] of Object.entries(JSON.parse(event.data))) waiting.set(name, html);
      show();
    };
    source.onerror = () => {
      if (sign.textContent === "Live" || !sign.textContent) say("Not live since " + time());
      if (source.readyState === EventSource.CLOSED) setTimeout(open, RETRY);
    };
    source.addEventListener("end", () => {
      source.close();
      say("Not live since " + time() + ": load the page again");
    });
  };

  document.addEventListener("selectionchange", () => {
    if (waiting.size) show();
  });
  window.addEventListener("pagehide", () => source && source.close());
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) open();
  });
  open();
})();
