/** The form of a trigger: when, who, how often, what. It reads and writes the JSON document, and
 * leaves alone whatever of it has no field here. */

import { field, h, select } from "./dom.js";

const EVENTS = /** @type {[string, string][]} */ ([
  ["enter", "comes into a place"], ["dwell", "stays in a place"], ["exit", "leaves a place"],
  ["approach", "comes near a place"], ["cross", "passes through a place"], ["custom", "does something (own event)"],
]);
const CHANNELS = ["app_push", "web_push", "inbox", "webhook", "whatsapp", "sms", "email"];
const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/** A new trigger. @returns {any} */
export function blank() {
  return {
    id: `trigger-${Date.now().toString(36)}`, name: "", enabled: true, class: "marketing",
    on: { event: "enter" }, cooldown: { per: "zone", seconds: 86400 },
    variants: [{ message: { title: "Welcome, {{ user.first_name | default: 'friend' }}", body: "Good to see you at {{ zone.name }}." } }],
  };
}

/**
 * @param {any} trigger the document that the form shows and changes
 * @param {() => void} onChange
 * @param {{isNew: boolean, tags: string[]}} more tags: those in use, as suggestions
 */
export function triggerForm(trigger, onChange, { isNew, tags }) {
  const form = h("form", { onsubmit: (/** @type {Event} */ event) => event.preventDefault() });
  const listId = "tags-in-use";

  /** Sets or (for nothing) removes a member of an object. @param {any} object @param {string} name @param {any} value */
  function put(object, name, value) {
    if (value === "" || value == null || Number.isNaN(value) || (Array.isArray(value) && !value.length)) delete object[name];
    else object[name] = value;
    onChange();
  }
  /** @param {any} object @param {string} name @param {Record<string, any>} [attributes] */
  const text = (object, name, attributes = {}) =>
    h("input", { value: object[name] ?? "", ...attributes, oninput: (/** @type {any} */ e) => put(object, name, e.target.value) });
  /** @param {any} object @param {string} name @param {Record<string, any>} [attributes] @param {number} [unit] */
  const number = (object, name, attributes = {}, unit = 1) =>
    h("input", { type: "number", min: 0, step: "any", value: object[name] == null ? "" : object[name] / unit, ...attributes,
      oninput: (/** @type {any} */ e) => put(object, name, e.target.value === "" ? null : Number(e.target.value) * unit) });
  /** An object inside, made when it is needed and removed when it is empty. @param {any} parent @param {string} name */
  const inside = (parent, name) => new Proxy({}, {
    get: (_, key) => parent[name]?.[key],
    set: (_, key, value) => { (parent[name] ??= {})[key] = value; return true; },
    deleteProperty: (_, key) => {
      if (parent[name]) delete parent[name][key];
      if (parent[name] && !Object.keys(parent[name]).length) delete parent[name];
      return true;
    },
  });

  const on = trigger.on;
  const eventDetail = h("div", { class: "grid" });
  function drawEvent() {
    if (on.event !== "dwell") delete on.dwell_s;
    if (on.event !== "approach") delete on.within_m;
    if (on.event !== "custom") delete on.name;
    const zones = typeof on.zones === "object" ? on.zones : {};
    const lists = (/** @type {string} */ name) => h("input", { value: (zones[name] ?? []).join(", "), list: name === "tags" ? listId : null, placeholder: "all places",
      oninput: (/** @type {any} */ e) => {
        const values = e.target.value.split(",").map((/** @type {string} */ one) => one.trim()).filter(Boolean);
        const wanted = { ...(typeof on.zones === "object" ? on.zones : {}), [name]: values };
        if (!values.length) delete wanted[name];
        put(on, "zones", Object.keys(wanted).length ? wanted : null);
      } });
    eventDetail.replaceChildren(
      ...(on.event === "dwell" ? [field("For at least, minutes", number(on, "dwell_s", { min: 0.1, required: true }, 60))] : []),
      ...(on.event === "approach" ? [field("Within, m", number(on, "within_m", { min: 1, required: true }))] : []),
      ...(on.event === "custom" ? [field("Name of the event", text(on, "name", { required: true, placeholder: "cart_abandoned" }))] : []),
      field("Places with a tag", lists("tags")), field("or the places (ids)", lists("ids")));
  }
  drawEvent();

  const kind = select(EVENTS, on.event, { onchange: () => {
    on.event = kind.value;
    if (kind.value === "dwell") on.dwell_s = 300;
    if (kind.value === "approach") on.within_m = 200;
    if (kind.value === "custom") on.name = "my_event";
    drawEvent();
    onChange();
  } });
  const suggestions = h("datalist", { id: listId }, tags.map((one) => h("option", { value: one })));

  form.append(suggestions,
    h("fieldset", {}, h("legend", {}, "What is it"),
      h("div", { class: "grid" }, field("Name", text(trigger, "name", { placeholder: "Lunch offer" })),
        field("Id", text(trigger, "id", { required: true, disabled: !isNew })),
        field("Kind", select([["marketing", "marketing: quiet hours and caps hold"], ["transactional", "transactional: goes at once"]], trigger.class ?? "marketing",
          { onchange: (/** @type {any} */ e) => put(trigger, "class", e.target.value) })))),
    h("fieldset", {}, h("legend", {}, "When somebody …"), field("Event", kind), eventDetail),
    h("fieldset", {}, h("legend", {}, "At which times"), hours(trigger, put, inside)),
    h("fieldset", {}, h("legend", {}, "Who"), audience(trigger, put)),
    h("fieldset", {}, h("legend", {}, "How often"),
      h("div", { class: "grid" },
        field("Not again within, hours", number(inside(trigger, "cooldown"), "seconds", {}, 3600)),
        field("counted per", select([["zone", "person and place"], ["trigger", "person"]], trigger.cooldown?.per ?? "zone",
          { onchange: (/** @type {any} */ e) => { if (trigger.cooldown) put(trigger.cooldown, "per", e.target.value); } })),
        field("A person a day", number(inside(trigger, "limits"), "per_user_per_day", { step: 1, placeholder: "any" })),
        field("A person ever", number(inside(trigger, "limits"), "per_user_total", { step: 1, placeholder: "any" })),
        field("Everybody together", number(inside(trigger, "limits"), "total", { step: 1, placeholder: "any" })),
        field("From which visit on", number(inside(trigger, "limits"), "from_visit", { step: 1, min: 1, placeholder: "the first" })),
        field("Left out to compare, %", number(trigger, "holdout", { max: 100 }, 0.01)),
        field("Wait before sending, minutes", number(trigger, "delay_s", {}, 60)))),
    h("fieldset", {}, h("legend", {}, "Says what"), message(trigger, text, put)),
    h("fieldset", {}, h("legend", {}, "On which channels"), channels(trigger, put)));
  return form;
}

/** @param {any} trigger @param {(o: any, n: string, v: any) => void} put @param {(o: any, n: string) => any} inside */
function hours(trigger, put, inside) {
  const window_ = trigger.schedule?.windows?.[0] ?? {};
  const chosen = new Set(expand(window_.days));
  const from = h("input", { type: "time", value: window_.from ?? "" });
  const to = h("input", { type: "time", value: window_.to ?? "" });
  const days = DAYS.map((day) => h("label", { class: "check" }, h("input", { type: "checkbox", value: day, checked: chosen.has(day) || !chosen.size }), day));
  const write = () => {
    const picked = days.map((one) => /** @type {HTMLInputElement} */ (one.firstChild)).filter((one) => one.checked).map((one) => one.value);
    const others = (trigger.schedule?.windows ?? []).slice(1);
    const made = from.value && to.value ? [{ ...(picked.length < 7 ? { days: picked } : {}), from: from.value, to: to.value }, ...others] : [];
    put(inside(trigger, "schedule"), "windows", made);
  };
  const place = h("div", { onchange: write },
    h("div", { class: "grid" }, field("From", from), field("to", to)),
    h("div", { class: "row", role: "group", "aria-label": "Days" }, days),
    h("small", {}, (trigger.schedule?.windows?.length ?? 0) > 1 ? "There are more windows; they are in the JSON." : "Empty: at any time. Local time of the place."));
  return place;
}

/** @param {string | string[] | undefined} days @returns {string[]} */
function expand(days) {
  return (Array.isArray(days) ? days : days ? days.split(",") : []).flatMap((one) => {
    const [first, last] = one.split("-").map((name) => DAYS.indexOf(name.trim()));
    return last === undefined ? [DAYS[first]] : first <= last ? DAYS.slice(first, last + 1) : [...DAYS.slice(first), ...DAYS.slice(0, last + 1)];
  });
}

/** @param {any} trigger @param {(o: any, n: string, v: any) => void} put */
function audience(trigger, put) {
  const rule = trigger.audience;
  const one = rule?.all?.length === 1 ? rule.all[0] : rule;
  const isSimple = !rule || (one && "attribute" in one && Object.keys(one).length === 2 && Array.isArray(one.in)) || (one && "tag" in one);
  if (!isSimple) return h("p", { class: "note" }, "The rule is made of several parts; it is in the JSON.");
  const name = h("input", { value: one?.attribute ?? "", placeholder: "tier" });
  const values = h("input", { value: (one?.in ?? []).join(", "), placeholder: "gold, platinum" });
  const tag = h("input", { value: one?.tag ?? "", placeholder: "newsletter" });
  const write = () => {
    const list = values.value.split(",").map((/** @type {string} */ item) => item.trim()).filter(Boolean);
    const parts = [...(name.value && list.length ? [{ attribute: name.value, in: list }] : []), ...(tag.value ? [{ tag: tag.value }] : [])];
    put(trigger, "audience", parts.length ? { all: parts } : null);
  };
  return h("div", { oninput: write }, h("div", { class: "grid" }, field("Whose attribute", name), field("is one of", values), field("and who has the tag", tag)),
    h("small", {}, "Empty: everybody who allows pushes."));
}

/** @param {any} trigger @param {(o: any, n: string, a?: any) => HTMLElement} text @param {(o: any, n: string, v: any) => void} put */
function message(trigger, text, put) {
  const { message: said } = trigger.variants[0];
  const body = h("textarea", { rows: 3, oninput: (/** @type {any} */ e) => put(said, "body", e.target.value) }, said.body ?? "");
  const action = said.actions?.[0] ?? {};
  const button = h("input", { value: action.title ?? "", placeholder: "Remind me later", oninput: (/** @type {any} */ e) => {
    const rest = (said.actions ?? []).slice(1);
    put(said, "actions", e.target.value ? [{ ...action, id: action.id ?? "first", title: e.target.value }, ...rest] : rest);
  } });
  return h("div", {}, field("Title", text(said, "title")), field("Text", body, "{{ user.first_name }}, {{ zone.name }} and the like are filled in."),
    h("div", { class: "grid" }, field("Picture (https)", text(said, "image_url", { type: "url" })), field("Opens", text(said, "deep_link", { placeholder: "shop://offers/7" })), field("Button", button)),
    trigger.variants.length > 1 ? h("p", { class: "note" }, `This is variant 1 of ${trigger.variants.length}; the others are in the JSON.`) : null);
}

/** @param {any} trigger @param {(o: any, n: string, v: any) => void} put */
function channels(trigger, put) {
  const chosen = /** @type {string[]} */ (trigger.channels ?? ["app_push", "web_push", "inbox"]);
  return h("div", { class: "row" }, CHANNELS.map((one) => h("label", { class: "check" },
    h("input", { type: "checkbox", checked: chosen.includes(one), onchange: (/** @type {any} */ e) => {
      const now = /** @type {string[]} */ (trigger.channels ?? ["app_push", "web_push", "inbox"]);
      put(trigger, "channels", e.target.checked ? [...now, one] : now.filter((other) => other !== one));
    } }), one.replace("_", " "))));
}
