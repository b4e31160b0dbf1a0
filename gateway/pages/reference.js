// Renders /openapi.json: contents, parameters, bodies, answers, a curl line, and a try-it button.
// Everything is built with text nodes, so nothing in the document can become markup.

const METHODS = ["get", "post", "put", "patch", "delete"];
const spec = await (await fetch("/openapi.json")).json();
const keyField = document.getElementById("key");

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function resolve(schema) {
  if (!schema || !schema.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((at, part) => at[part.replaceAll("~1", "/")], spec);
}

function typeName(schema) {
  const found = resolve(schema);
  const parts = found.oneOf ?? found.anyOf;
  if (parts) return [...new Set(parts.map(typeName))].join(" or ");
  if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (found.type === "array") return `${typeName(found.items)} list`;
  return [found.type ?? "any"].flat().join(" or ") + (found.format ? ` (${found.format})` : "");
}

function exampleOf(media) {
  const first = Object.values(media?.examples ?? {})[0];
  if (first) return resolve(first).value;
  if (media?.example !== undefined) return media.example;
  return fromSchema(media?.schema, 0);
}

function fromSchema(schema, depth) {
  const found = resolve(schema);
  const given = found.examples?.[0] ?? found.default ?? found.const ?? found.enum?.[0];
  if (given !== undefined) return given;
  if (found.oneOf || found.anyOf) return fromSchema((found.oneOf ?? found.anyOf)[0], depth);
  if (depth > 4) return null;
  if (found.type === "array") return [fromSchema(found.items, depth + 1)];
  if (found.properties) {
    const wanted = Object.entries(found.properties);
    return Object.fromEntries(wanted.map(([name, one]) => [name, fromSchema(one, depth + 1)]));
  }
  return { string: "…", integer: 0, number: 0, boolean: false, object: {} }[found.type] ?? null;
}

function table(head, rows) {
  if (!rows.length) return null;
  const cells = (tag, row) => make("tr", {}, ...row.map((cell) => make(tag, {}, cell ?? "")));
  return make("table", {}, cells("th", head), ...rows.map((row) => cells("td", row)));
}

function bodyOf(operation) {
  const media = resolve(operation.requestBody)?.content?.["application/json"];
  return media ? JSON.stringify(exampleOf(media), null, 2) : "";
}

function curl(method, path, body) {
  const lines = [`curl -X ${method.toUpperCase()} "${location.origin}${path}"`];
  lines.push(`  -H "Authorization: Bearer $GATEWAY_API_KEY"`);
  if (body) lines.push(`  -H "Content-Type: application/json"`, `  -d '${body.replaceAll("'", "'\\''")}'`);
  return lines.join(" \\\n");
}

function tryIt(method, path, body) {
  const target = make("input", { value: path, size: 50, ariaLabel: "Path" });
  const editor = make("textarea", { value: body, rows: Math.min(14, body.split("\n").length + 1), cols: 70, ariaLabel: "Body" });
  const answer = make("pre", { hidden: true });
  const button = make("button", { type: "button" }, "Send");
  button.onclick = async () => {
    const headers = keyField.value ? { Authorization: `Bearer ${keyField.value}` } : {};
    if (body) headers["Content-Type"] = "application/json";
    const sent = { method: method.toUpperCase(), headers, body: body ? editor.value : undefined };
    answer.hidden = false;
    try {
      const reply = await fetch(target.value, sent);
      const text = await reply.text();
      answer.className = reply.ok ? "" : "status-error";
      answer.textContent = `${reply.status} ${reply.statusText}\n${pretty(text)}`;
    } catch (error) {
      answer.textContent = String(error);
    }
  };
  return make("details", {}, make("summary", {}, "Try it"), make("p", {}, target, " ", button), body ? editor : null, answer);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function section(method, path, operation) {
  const body = bodyOf(operation);
  const parameters = (operation.parameters ?? []).map(resolve).map((one) => [
    make("code", {}, one.name), one.in + (one.required ? ", required" : ""), typeName(one.schema), one.description ?? "",
  ]);
  const answers = Object.entries(operation.responses ?? {}).map(([status, one]) => [status, resolve(one).description]);
  const name = make("span", { className: `method ${method}` }, method.toUpperCase());
  const node = make(
    "section", { id: operation.operationId },
    make("h3", {}, name, path),
    make("p", {}, operation.description ?? operation.summary ?? ""),
    table(["Parameter", "In", "Type", "Meaning"], parameters),
    make("pre", {}, curl(method, path, body)),
    table(["Answer", "Meaning"], answers),
    tryIt(method, path, body),
  );
  node.dataset.words = `${method} ${path} ${operation.operationId} ${operation.description ?? ""}`.toLowerCase();
  return node;
}

function render() {
  document.getElementById("version").textContent = spec.info.version;
  document.getElementById("description").textContent = spec.info.description;
  const groups = new Map();
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((one) => item[one])) {
      const group = item[method].tags?.[0] ?? "other";
      groups.set(group, [...(groups.get(group) ?? []), [method, path, item[method]]]);
    }
  }
  const contents = document.getElementById("contents");
  const routes = document.getElementById("routes");
  for (const [group, operations] of [...groups].sort(([a], [b]) => a.localeCompare(b))) {
    contents.append(make("h2", {}, group));
    for (const [method, path, operation] of operations) {
      const short = method.toUpperCase().slice(0, 3).padEnd(4, "\u00a0");
      contents.append(make("a", { href: `#${operation.operationId}` }, `${short}${path}`));
      routes.append(section(method, path, operation));
    }
  }
  if (location.hash) document.querySelector(location.hash)?.scrollIntoView();
}

document.getElementById("find").oninput = (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  for (const node of document.querySelectorAll("section")) {
    node.hidden = !words.every((word) => node.dataset.words.includes(word));
  }
};

render();
