/** The side panel of one geofence: what it is, and the form that changes it. */

import { Problem, call, get, may } from "./api.js";
import { field, fill, h, select, tell, toast } from "./dom.js";
import { cut, fromPencil, toPencil } from "./shapes.js";

/**
 * @typedef {object} Desk
 * @property {HTMLElement} panel
 * @property {import("./pencil.js").Pencil} pencil
 * @property {import("./map.js").Fences} fences
 * @property {() => void} close
 */

/** @param {Desk} desk @param {string} id */
export async function openFence(desk, id) {
  show(desk, await get(`/v1/geofences/${encodeURIComponent(id)}`), false);
}

/** A new one, from what the pencil drew. @param {Desk} desk @param {any} feature */
export function newFence(desk, feature) {
  const { geometry, radius_m } = fromPencil(feature);
  const id = `fence-${Date.now().toString(36)}`;
  show(desk, { type: "Feature", id, geometry, properties: radius_m ? { radius_m } : {} }, true);
}

/** @param {Desk} desk @param {any} fence @param {boolean} isNew */
function show(desk, fence, isNew) {
  const { properties } = fence;
  const inputs = {
    id: h("input", { value: fence.id, required: true, disabled: !isNew, maxlength: 128 }),
    name: h("input", { value: properties.name ?? "", maxlength: 200 }),
    tags: h("input", { value: (properties.tags ?? []).join(", "), placeholder: "store, berlin" }),
    radius_m: h("input", { type: "number", min: 5, max: 200000, step: "any", value: properties.radius_m ?? "" }),
    buffer_m: h("input", { type: "number", min: 1, step: "any", value: properties.buffer_m ?? "" }),
    timezone: h("input", { value: properties.timezone ?? "", placeholder: "Europe/Berlin" }),
    preset: select([["", "as the tenant has it"], ["robust", "robust: sure before it speaks"], ["immediate", "immediate: first fix counts"]], properties.policy?.preset ?? ""),
  };
  let { geometry } = fence;
  const wrong = h("p", { class: "wrong", role: "alert" });
  const isEditable = may("manage");

  function wanted() {
    const made = { ...properties, policy: { ...properties.policy, preset: inputs.preset.value } };
    if (!inputs.preset.value) delete made.policy.preset;
    if (!Object.keys(made.policy).length) delete made.policy;
    const put = (/** @type {string} */ name, /** @type {any} */ value) => {
      if (value === "" || value === undefined || value.length === 0) delete made[name];
      else made[name] = value;
    };
    put("name", inputs.name.value.trim());
    put("tags", inputs.tags.value.split(",").map((one) => one.trim()).filter(Boolean));
    put("timezone", inputs.timezone.value.trim());
    if (geometry.type === "Point") put("radius_m", Number(inputs.radius_m.value));
    if (geometry.type === "LineString") put("buffer_m", Number(inputs.buffer_m.value));
    return { type: "Feature", geometry, properties: made };
  }

  async function save(/** @type {Event} */ event) {
    event.preventDefault();
    wrong.textContent = "";
    try {
      /** @type {Record<string, string>} */
      const headers = isNew ? { "If-None-Match": "*" } : { "If-Match": `"${fence.version}"` };
      await call("PUT", path(inputs.id.value), wanted(), { headers });
      toast("Saved. It counts from the next ping on.");
      finish();
    } catch (error) {
      const isTaken = error instanceof Problem && error.status === 412;
      wrong.textContent = isTaken
        ? isNew ? "There is a geofence with this id already." : "Somebody else has changed it meanwhile. Open it again."
        : error instanceof Error ? error.message : String(error);
    }
  }

  async function remove() {
    try {
      await call("DELETE", path(fence.id));
      finish();
      const again = { type: "Feature", geometry: fence.geometry, properties };
      toast(`Deleted ${properties.name ?? fence.id}.`, {
        action: "Undo", run: () => call("PUT", path(fence.id), again).then(() => desk.fences.load(), tell),
      });
    } catch (error) {
      tell(error);
    }
  }

  async function split(/** @type {any} */ line) {
    const [from, to] = [line.geometry.coordinates[0], line.geometry.coordinates.at(-1)];
    const parts = cut(geometry.coordinates[0], from, to);
    desk.pencil.end();
    if (!parts) return toast("Draw the line so that it crosses the edge twice.", { kind: "bad" });
    try {
      const [kept, other] = parts.map((ring) => ({ ...wanted(), geometry: { type: "Polygon", coordinates: [ring] } }));
      await call("PUT", path(`${fence.id}-2`), other, { headers: { "If-None-Match": "*" } });
      await call("PUT", path(fence.id), kept, { headers: { "If-Match": `"${fence.version}"` } });
      toast(`Split. The other half is ${fence.id}-2.`);
      finish();
    } catch (error) {
      tell(error);
    }
  }

  function finish() {
    desk.close();
    void desk.fences.load();
  }

  function reshape() {
    const feature = toPencil({ geometry, properties: { radius_m: Number(inputs.radius_m.value) } });
    if (!feature) return toast("Only circles and polygons without holes are edited by hand; import the others.", { kind: "bad" });
    desk.fences.hidden = fence.id;
    desk.fences.draw();
    try {
      desk.pencil.edit(feature, redrawn);
    } catch (error) {
      tell(error);
    }
  }

  function redrawn(/** @type {any} */ feature) {
    const drawing = fromPencil(feature);
    geometry = drawing.geometry;
    if (drawing.radius_m) inputs.radius_m.value = String(drawing.radius_m);
  }

  const isRing = geometry.type === "Polygon" && geometry.coordinates.length === 1;
  fill(desk.panel,
    h("form", { onsubmit: save },
      h("div", { class: "row" }, h("h2", { class: "grow" }, isNew ? "New geofence" : properties.name ?? fence.id),
        h("button", { type: "button", class: "quiet", onclick: desk.close, "aria-label": "Close" }, "×")),
      field("Name", inputs.name), field("Id", inputs.id),
      field("Tags", inputs.tags, "Triggers find their places by tags."),
      geometry.type === "Point" ? field("Radius, m", inputs.radius_m) : null,
      geometry.type === "LineString" ? field("Half width, m", inputs.buffer_m) : null,
      field("Time zone", inputs.timezone), field("Judged", inputs.preset),
      wrong,
      isEditable ? h("div", { class: "row" },
        h("button", { class: "main" }, isNew ? "Create" : "Save"),
        isNew ? null : h("button", { type: "button", onclick: reshape }, "Edit shape"),
        !isNew && isRing ? h("button", { type: "button", onclick: () => {
          toast("Draw a line across it; click its end twice.");
          desk.pencil.begin("linestring", split);
        } }, "Split") : null,
        isNew ? null : h("button", { type: "button", class: "danger", onclick: remove }, "Delete"))
        : h("p", { class: "note" }, "This key may look, not change (scope read)."),
      isNew ? null : h("p", { class: "note" }, `Version ${fence.version}. `, h("a", { href: `/explain?zone=${encodeURIComponent(fence.id)}` }, "What happened here"))));
  for (const input of Object.values(inputs)) input.disabled ||= !isEditable;
  if (isNew) desk.pencil.onShape = redrawn;
}

/** @param {string} id */
function path(id) {
  return `/v1/geofences/${encodeURIComponent(id)}`;
}
