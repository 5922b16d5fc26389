// The card reader of this computer, a service on loopback: `dianka counter`.
"use strict";

(() => {
  const place = document.querySelector("[data-reader]");
  if (!place) return;
  place.hidden = false;
  const KEPT = "dianka-counter";
  const part = (name) => place.querySelector(`[data-${name}]`);
  const token = place.querySelector("[name=csrfmiddlewaretoken]").value;

  const show = (state, wrong = "") => {
    for (const one of place.querySelectorAll("[data-when]")) one.hidden = one.dataset.when !== state;
    part("wrong").textContent = wrong;
    part("wrong").hidden = !wrong;
  };

  // What a person has typed: the port of the service and its key.
  const paired = () => {
    const found = /^([0-9]{2,5})-(.+)$/.exec(localStorage.getItem(KEPT) || "");
    return found && { port: found[1], key: found[2] };
  };

  const ask = async (path, told) => {
    const to = paired();
    if (!to) throw Object.assign(new Error(""), { state: "unpaired" });
    let answer;
    try {
      answer = await fetch(`http://127.0.0.1:${to.port}${path}`, {
        method: told ? "POST" : "GET",
        headers: {
          "X-Dianka-Key": to.key,
          "Accept-Language": document.documentElement.lang.slice(0, 2),
          ...(told ? { "Content-Type": "application/json" } : {}),
        },
        body: told ? JSON.stringify(told) : undefined,
        credentials: "omit",
      });
    } catch {
      throw Object.assign(new Error(""), { state: "off" });
    }
    const found = await answer.json();
    if (!answer.ok) {
      throw Object.assign(new Error(found.error), { state: answer.status === 401 ? "unpaired" : "ready" });
    }
    return found;
  };

  const send = async (url, fields) => {
    const answer = await fetch(url, {
      method: "POST",
      body: new URLSearchParams({ csrfmiddlewaretoken: token, ...fields }),
      headers: { "HX-Request": "true" },
    });
    const away = answer.headers.get("HX-Redirect");
    if (away) location.assign(away);
    return answer;
  };

  let isBusy = false;
  const once = async (work) => {
    if (isBusy) return;
    isBusy = true;
    show("busy");
    try {
      await work();
      show("ready");
    } catch (error) {
      show(error.state || "ready", error.message);
    } finally {
      isBusy = false;
    }
  };

  const read = () => once(async () => {
    const card = await ask("/card");
    const account = place.dataset.reader;
    if (!account && card.account) {
      location.assign(`/sell?account=${encodeURIComponent(card.account)}#card`);
      return;
    }
    const answer = await send("/held", { card: JSON.stringify(card), account });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.querySelector(".held");
    if (!found) {
      const said = page.querySelector("[role=alert]");
      throw new Error(said ? said.textContent : String(answer.status));
    }
    part("held").replaceChildren(found);
  });

  // Noted at the station before the reader may write it; the head of the reader's log comes back.
  const write = (url) => once(async () => {
    const begun = await send(url, { step: "begin" });
    const order = await begun.json();
    if (!begun.ok) throw new Error(order.error);
    const card = await ask("/write", order);
    await send(url, { step: "done", log: JSON.stringify(card.log) });
    location.reload();
  });

  place.addEventListener("click", (event) => {
    if (event.target.closest("[data-read]")) read();
    if (event.target.closest("[data-forget]")) {
      localStorage.removeItem(KEPT);
      show("unpaired");
    }
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-write]");
    if (button) write(button.dataset.write);
  });
  place.addEventListener("submit", (event) => {
    event.preventDefault();
    localStorage.setItem(KEPT, event.target.elements.key.value.trim());
    read();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "F2") {
      event.preventDefault();
      read();
    }
  });

  show(paired() ? "ready" : "unpaired");
  if (location.hash === "#card" && paired()) read();
})();
