// Updates the page every five seconds while somebody looks at it and works with nothing on it. Without this script the
// pages work as they are, and reload by hand.
(() => {
  const EVERY = 5000;

  const inUse = () => {
    const live = document.getElementById("live");
    if (!live) return true;
    const changed = [...live.querySelectorAll("input, textarea")].some(
      (each) => each.checked !== each.defaultChecked || each.value !== each.defaultValue,
    );
    const opened = live.querySelector("details[open], dialog[open], .plot:hover");
    const choosing = live.contains(document.activeElement) && document.activeElement.matches("select, input:not([type=checkbox], [type=radio]), textarea");
    return Boolean(changed || opened || choosing || !getSelection().isCollapsed);
  };

  setInterval(() => {
    if (!document.hidden && !inUse()) document.body.dispatchEvent(new Event("tick"));
  }, EVERY);

  // What is shown already is not sent again.
  document.addEventListener("htmx:configRequest", (event) => {
    const live = document.getElementById("live");
    if (live?.dataset.seen) event.detail.headers["X-Seen"] = live.dataset.seen;
  });

  // The foot of the page shows the time at the server, also when nothing else is new.
  document.addEventListener("htmx:afterRequest", (event) => {
    const now = event.detail.xhr?.getResponseHeader("X-Now");
    if (now) document.getElementById("now").textContent = now;
  });

  // Whoever goes through the page by keyboard stays at the same link.
  let place = null;
  document.addEventListener("htmx:beforeSwap", () => {
    const at = document.activeElement;
    place = at?.closest("#live") && at.href ? at.getAttribute("href") : null;
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (place) document.querySelector(`#live a[href="${CSS.escape(place)}"]`)?.focus({ preventScroll: true });
  });

  // The name of the own time zone is sent to the server, which then writes all times in it.
  const ownZone = document.querySelector("[data-own-zone]");
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (ownZone && zone && zone !== "UTC") {
    ownZone.value = zone;
    ownZone.textContent = `Show times in ${zone.replaceAll("_", " ")}`;
    ownZone.hidden = false;
  }

  // What is suggested follows the words that are typed already.
  document.addEventListener("input", (event) => {
    if (event.target.id !== "q") return;
    const typed = event.target.value.slice(0, event.target.value.lastIndexOf(" ") + 1);
    for (const option of document.querySelectorAll("#filter-words option")) option.value = typed + option.dataset.word;
  });

  // A box in the head of a table checks or clears all boxes of the table.
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-check-all]")) return;
    for (const box of event.target.closest("table").querySelectorAll("tbody input[type=checkbox]")) {
      box.checked = event.target.checked;
    }
  });

  // Browsers offer the clipboard over HTTPS only; elsewhere the text is selected, ready to be copied.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    getSelection().selectAllChildren(source);
    navigator.clipboard?.writeText(source.textContent).then(() => {
      button.textContent = "Copied";
    });
  });
})();
