// Updates the page every five seconds while somebody looks at it and works with nothing on it. Without this script the
// pages work as they are, and reload by hand.
(() => {
  const EVERY = 5000;

  const inUse = () => {
    const live = document.getElementById("live");
    if (!live) return true;
    const chosen = live.querySelector("input:checked, details[open], dialog[open], .plot:hover");
    const focused = live.contains(document.activeElement) && document.activeElement.matches("input, select, textarea, button");
    return Boolean(chosen || focused || !getSelection().isCollapsed);
  };

  setInterval(() => {
    if (!document.hidden && !inUse()) document.body.dispatchEvent(new Event("tick"));
  }, EVERY);

  // What is shown already is not sent again.
  document.addEventListener("htmx:configRequest", (event) => {
    const live = document.getElementById("live");
    if (live?.dataset.seen) event.detail.headers["X-Seen"] = live.dataset.seen;
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
    navigator.clipboard?.writeText(source.textContent);
  });
})();
