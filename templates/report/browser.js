"use strict";
// Texts of the corpus and of models are only ever set as text (textContent), never as markup.
(() => {
  const PAGE = 20;
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data.questions.length) return;
  const find = (id) => document.getElementById(id);
  const fields = { search: find("search"), dataset: find("dataset"), system: find("system"), outcome: find("outcome") };
  let matches = [];
  let page = 0;

  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const add = (parent, ...children) => { parent.append(...children); return parent; };
  // Text of others in an element of its own, so that marks in it cannot turn what stands around it.
  const foreign = (text) => { const element = make("bdi", text); element.dir = "auto"; return element; };

  const offer = (select, names, title) => {
    for (const name of names) {
      const option = make("option", name);
      option.value = name;
      if (title) option.title = title(name);
      select.append(option);
    }
  };
  offer(fields.dataset, [...new Set(data.questions.map((question) => question.d))].sort());
  offer(fields.system, data.systems);
  offer(fields.outcome, Object.keys(data.outcomes), (name) => data.outcomes[name]);

  // Lower-case texts to search in, made when the first search needs them.
  let haystacks = null;
  const prepare = () => {
    const passages = data.passages.map((passage) => passage.join(" ").toLowerCase());
    haystacks = {
      passages,
      questions: data.questions.map((question) =>
        [question.id, question.q, ...question.g, ...question.r.map((attempt) => attempt.a || "")].join("\n").toLowerCase()),
    };
  };

  const attemptsOf = (question) => {
    const system = fields.system.value;
    return system ? question.r.filter((attempt) => data.systems[attempt.s] === system) : question.r;
  };

  const filter = () => {
    const words = fields.search.value.trim().toLowerCase();
    if (words && !haystacks) prepare();
    const hits = words ? haystacks.passages.map((text) => text.includes(words)) : null;
    const outcome = fields.outcome.value;
    matches = [];
    data.questions.forEach((question, number) => {
      if (fields.dataset.value && question.d !== fields.dataset.value) return;
      const attempts = attemptsOf(question);
      if (!attempts.length) return;
      if (outcome && !attempts.some((attempt) => attempt.f.includes(outcome))) return;
      if (words && !haystacks.questions[number].includes(words) && !question.p.some((passage) => hits[passage])) return;
      matches.push(number);
    });
    page = 0;
    show();
  };

  const chip = (name) => make("span", name, "chip " + (name === "all right" ? "good" : name === "needless passages" ? "" : "bad"));

  const candidates = (question) => {
    const list = make("ol", undefined, "docs");
    question.p.forEach((number, place) => {
      const [id, title, text] = data.passages[number];
      const item = add(make("li"), add(make("strong"), foreign(title || id)), " ", add(make("span", undefined, "muted"), foreign(id)));
      if (question.k && question.k.includes(place)) item.append(make("span", "gold", "chip good"));
      if (text) item.append(add(make("p"), foreign(text)));
      list.append(item);
    });
    return list;
  };

  const scoreText = (value) => (value === null ? "–" : String(value));

  const attempts = (question) => {
    const shown = attemptsOf(question);
    const names = [...new Set(shown.flatMap((attempt) => Object.keys(attempt.v)))];
    const box = make("div", undefined, "wide");
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "What the systems chose and answered");
    const head = make("tr");
    const words = ["system", "chosen, in order", "answer", "outcome"];
    for (const title of [...words, ...names]) {
      const cell = make("th", title.replaceAll("_", " "), words.includes(title) ? "words" : "");
      cell.scope = "col";
      head.append(cell);
    }
    const body = make("tbody");
    for (const attempt of shown) {
      const name = add(make("th"), foreign(data.systems[attempt.s]));
      name.scope = "row";
      const chosen = attempt.c.map((place) => `[${place + 1}]`).join(" ") || "none";
      const status = attempt.t === "ok" || attempt.t === "none" ? "" : ` (${attempt.t})`;
      const answer = make("td", undefined, "text");
      answer.append(attempt.a === null ? make("em", "no answer") : foreign(attempt.a));
      if (attempt.e) answer.append(add(make("p", "error: ", "muted"), foreign(attempt.e)));
      const outcome = add(make("td", undefined, "text"), ...attempt.f.map(chip));
      const row = add(make("tr"), name, make("td", chosen + status, "words"), answer, outcome);
      for (const term of names) row.append(make("td", term in attempt.v ? scoreText(attempt.v[term]) : ""));
      body.append(row);
    }
    return add(box, add(make("table"), add(make("thead"), head), body));
  };

  const fill = (question) => {
    const body = make("div", undefined, "body");
    const gold = make("p");
    gold.append(make("strong", "Gold answers: "), question.g.length ? foreign(question.g.join(" | ")) : "none");
    body.append(add(make("p", undefined, "muted"), "id ", foreign(question.id)), gold);
    if (question.k && !question.k.length && !question.m) body.append(make("p", "It is known that no passage is needed.", "muted"));
    if (question.m) body.append(make("p", `${question.m} gold passage(s) not among the candidates.`, "muted"));
    return add(body, make("h4", "Candidates"), candidates(question), make("h4", "Chosen and answered"), attempts(question));
  };

  const card = (question) => {
    const details = make("details");
    const summary = add(make("summary"), foreign(question.q), make("span", question.d, "chip"));
    const shown = attemptsOf(question);
    if (fields.system.value && shown.length === 1) summary.append(...shown[0].f.map(chip));
    else summary.append(make("span", `${shown.filter((attempt) => attempt.f[0] === "all right").length} of ${shown.length} all right`, "chip"));
    details.append(summary);
    details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) details.append(fill(question)); });
    return details;
  };

  const show = () => {
    const last = Math.max(Math.ceil(matches.length / PAGE) - 1, 0);
    const first = page * PAGE;
    find("list").replaceChildren(...matches.slice(first, first + PAGE).map((number) => card(data.questions[number])));
    find("found").textContent = matches.length
      ? `${matches.length} of ${data.questions.length} questions`
      : "No question fits; loosen a filter.";
    find("page").textContent = `page ${page + 1} of ${last + 1}`;
    find("previous").disabled = page === 0;
    find("next").disabled = page === last;
  };

  const turn = (step) => { page += step; show(); find("questions").scrollIntoView(); };
  find("previous").addEventListener("click", () => turn(-1));
  find("next").addEventListener("click", () => turn(1));
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const name of ["dataset", "system", "outcome"]) fields[name].addEventListener("change", filter);
  let waiting = 0;
  fields.search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 150); });
  filter();
})();
