// Keys of the desk, forms that are sent once, and curves. Every page works without it.
"use strict";

document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) &&
    !/^(radio|checkbox)$/.test(event.target.type);
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const find = document.getElementById("find");
    if (find) {
      event.preventDefault();
      find.focus();
      find.select();
    }
  } else if (event.key === "Escape") {
    const cancel = document.querySelector("[data-cancel]");
    if (cancel) cancel.click();
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.hasAttribute("data-once")) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "1";
});

// A page that the back button brings out of the browser's memory may be old.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) window.print();
});

// An amount that is chosen takes the place of one that is typed, and the other way round.
document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (!form) return;
  if (event.target.name === "preset") form.elements.amount.value = event.target.value;
  if (event.target.name === "amount") {
    for (const one of form.querySelectorAll("[name=preset]")) {
      one.checked = one.value === event.target.value;
    }
  }
});

document.addEventListener("DOMContentLoaded", () => {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  for (const place of document.querySelectorAll("[data-curve]")) {
    const points = JSON.parse(place.dataset.curve);
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, size: 40 };
    new uPlot({
      width: place.clientWidth,
      height: 90,
      cursor: { show: false },
      legend: { show: false },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
      axes: [{ show: false }, axis],
      series: [{}, { stroke: colour("--accent"), width: 2, label: place.dataset.label }],
    }, [points.map((one) => one[0]), points.map((one) => one[1])], place);
  }
});

// What a technician has done is kept on the phone until the head-end has it: a form that is sent
// again changes nothing, so that a connection that breaks costs nothing.
const KEPT = "dianka-kept:";

const sendKept = async () => {
  for (const name of Object.keys(localStorage).filter((one) => one.startsWith(KEPT))) {
    const { url, body } = JSON.parse(localStorage.getItem(name));
    let answer;
    try {
      answer = await fetch(url, { method: "POST", body: new URLSearchParams(body) });
    } catch {
      showKept();
      return;
    }
    if (answer.ok && new URL(answer.url).pathname.startsWith("/sign-in")) return;
    if (answer.status >= 500) return;
    localStorage.removeItem(name);
    if (location.pathname !== url) continue;
    if (answer.ok) location.reload();
    else document.documentElement.innerHTML = await answer.text();
  }
};

const showKept = () => {
  for (const place of document.querySelectorAll("[data-kept]")) {
    place.hidden = !localStorage.getItem(KEPT + place.dataset.kept);
  }
};

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.hasAttribute("data-keep")) return;
  event.preventDefault();
  const kept = { url: new URL(form.action).pathname, body: [...new FormData(form)] };
  localStorage.setItem(KEPT + form.dataset.keep, JSON.stringify(kept));
  sendKept();
});

window.addEventListener("online", sendKept);
document.addEventListener("DOMContentLoaded", sendKept);
