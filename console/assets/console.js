// The console without this file shows the same. It adds keys, local times, and parts that follow the log.
"use strict";

(() => {
  const two = (number) => String(number).padStart(2, "0");

  // Times are printed in UTC. Show them in local time, with UTC as the title.
  function localTimes(root) {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const at = new Date(element.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
      element.textContent = `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof Element && event.target.closest("input, textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "/") {
      event.preventDefault();
      document.getElementById("q")?.focus();
    } else if (event.key === "?") {
      location.href = document.body.dataset.help;
    }
  });

  const parts = () => document.querySelectorAll("[data-live-part]");
  const sign = document.getElementById("live");
  let stream = null;
  let fetching = false;

  // A part that is in use stays as it is until it is left.
  function inUse(part) {
    const selected = document.getSelection();
    return part.contains(document.activeElement) ||
      (selected !== null && !selected.isCollapsed && part.contains(selected.anchorNode));
  }

  async function refresh() {
    if (fetching) return;
    fetching = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store", credentials: "same-origin" });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts()) {
        const next = fresh.getElementById(part.id);
        if (next === null) {
          document.getElementById("content").replaceChildren(...fresh.getElementById("content").childNodes);
          break;
        }
        if (inUse(part)) continue;
        const open = [...part.querySelectorAll("details")].map((details) => details.open);
        part.replaceChildren(...next.childNodes);
        part.querySelectorAll("details").forEach((details, place) => {
          if (open[place] !== undefined) details.open = open[place];
        });
      }
      localTimes(document);
      say("following");
    } catch {
      say("no connection");
    } finally {
      fetching = false;
    }
  }

  function say(text) {
    if (sign === null) return;
    sign.hidden = false;
    sign.textContent = text;
    sign.classList.toggle("off", text !== "following");
  }

  function follow() {
    if (document.hidden || parts().length === 0) {
      stream?.close();
      stream = null;
    } else if (stream === null) {
      stream = new EventSource(document.body.dataset.live);
      stream.onopen = () => say("following");
      stream.onmessage = refresh;
      stream.onerror = () => {
        say("no connection");
        // A browser tries again after a broken connection, but not after an answer such as 502 or 503.
        if (stream?.readyState === EventSource.CLOSED) {
          stream = null;
          setTimeout(follow, 5000);
        }
      };
    }
  }

  localTimes(document);
  follow();
  document.addEventListener("visibilitychange", follow);
})();
