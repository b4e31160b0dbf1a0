/** Geofences as the API has them, as the map draws them, and as the pencil leaves them. */

const EARTH_RADIUS_M = 6_371_008.8;
const CORNERS = 64;
const rad = (/** @type {number} */ deg) => (deg * Math.PI) / 180;

/** @typedef {[number, number]} Position longitude, latitude */

/**
 * Metres between two positions (haversine, mean sphere).
 * @param {Position} a @param {Position} b
 */
export function distance_m([lon1, lat1], [lon2, lat2]) {
  const x = Math.sin(rad(lat2 - lat1) / 2) ** 2
    + Math.cos(rad(lat1)) * Math.cos(rad(lat2)) * Math.sin(rad(lon2 - lon1) / 2) ** 2;
  return 2 * EARTH_RADIUS_M * Math.asin(Math.min(1, Math.sqrt(x)));
}

/**
 * The ring of a circle on the sphere, closed.
 * @param {Position} center @param {number} radius_m @returns {Position[]}
 */
export function circleRing([lon, lat], radius_m) {
  const angle = radius_m / EARTH_RADIUS_M;
  const [sinLat, cosLat] = [Math.sin(rad(lat)), Math.cos(rad(lat))];
  /** @type {Position[]} */
  const ring = [];
  for (let i = 0; i < CORNERS; i++) {
    const bearing = (2 * Math.PI * i) / CORNERS;
    const lat2 = Math.asin(sinLat * Math.cos(angle) + cosLat * Math.sin(angle) * Math.cos(bearing));
    const lon2 = Math.atan2(Math.sin(bearing) * Math.sin(angle) * cosLat, Math.cos(angle) - sinLat * Math.sin(lat2));
    ring.push([lon + (lon2 * 180) / Math.PI, (lat2 * 180) / Math.PI]);
  }
  return [...ring, ring[0]];
}

/**
 * What the map draws for a geofence: circles as rings, corridors as broad lines.
 * @param {any} fence @returns {any} a GeoJSON feature
 */
export function drawn(fence) {
  const { geometry, properties = {}, id } = fence;
  const kept = { id, name: properties.name ?? id, tags: (properties.tags ?? []).join(", ") };
  if (geometry.type === "Point") {
    const ring = circleRing(geometry.coordinates, properties.radius_m);
    return { type: "Feature", properties: kept, geometry: { type: "Polygon", coordinates: [ring] } };
  }
  if (geometry.type === "LineString") {
    const lat = geometry.coordinates[0][1];
    // Pixels at zoom 0, where the world is 512 pixels wide; each zoom doubles them.
    const width = (2 * properties.buffer_m * 512) / (2 * Math.PI * EARTH_RADIUS_M * Math.cos(rad(lat)));
    return { type: "Feature", properties: { ...kept, width }, geometry };
  }
  return { type: "Feature", properties: kept, geometry };
}

/**
 * The box around features: west, south, east, north; null around none.
 * @param {any[]} features @returns {[number, number, number, number] | null}
 */
export function boxOf(features) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  const walk = (/** @type {any} */ part) => {
    if (typeof part[0] !== "number") return part.forEach(walk);
    box[0] = Math.min(box[0], part[0]);
    box[1] = Math.min(box[1], part[1]);
    box[2] = Math.max(box[2], part[0]);
    box[3] = Math.max(box[3], part[1]);
  };
  for (const feature of features) if (feature.geometry?.coordinates) walk(feature.geometry.coordinates);
  return box[0] === Infinity ? null : /** @type {any} */ (box);
}

/**
 * What the pencil drew, as geometry and properties of a geofence.
 * @param {any} feature of terra-draw
 */
export function fromPencil(feature) {
  const ring = /** @type {Position[]} */ (feature.geometry.coordinates[0]);
  if (feature.properties.mode !== "circle") return { geometry: { type: "Polygon", coordinates: [ring.map(rounded)] } };
  const [west, south, east, north] = /** @type {number[]} */ (boxOf([feature]));
  const center = rounded([(west + east) / 2, (south + north) / 2]);
  const radius_m = Math.round(ring.slice(1).reduce((sum, one) => sum + distance_m(center, one), 0) / (ring.length - 1));
  return { geometry: { type: "Point", coordinates: center }, radius_m: Math.max(5, radius_m) };
}

/** @param {any} fence @returns {any} a feature for the pencil; null for what it cannot hold */
export function toPencil(fence) {
  const { geometry, properties = {} } = fence;
  const isCircle = geometry.type === "Point";
  if (!isCircle && !(geometry.type === "Polygon" && geometry.coordinates.length === 1)) return null;
  const ring = isCircle ? circleRing(geometry.coordinates, properties.radius_m) : geometry.coordinates[0];
  return {
    type: "Feature",
    properties: isCircle ? { mode: "circle", radiusKilometers: properties.radius_m / 1000 } : { mode: "polygon" },
    geometry: { type: "Polygon", coordinates: [ring.map(rounded)] },
  };
}

/** @param {Position} position @returns {Position} to about a centimetre */
function rounded([lon, lat]) {
  return [Number(lon.toFixed(7)), Number(lat.toFixed(7))];
}

/**
 * Cuts a ring in two along a straight line.
 * @param {Position[]} ring closed @param {Position} from @param {Position} to
 * @returns {[Position[], Position[]] | null} null unless the line crosses the ring exactly twice
 */
export function cut(ring, from, to) {
  /** @type {{at: number, point: Position}[]} */
  const hits = [];
  for (let i = 0; i + 1 < ring.length; i++) {
    const point = crossing(ring[i], ring[i + 1], from, to);
    if (point) hits.push({ at: i, point: rounded(point) });
  }
  if (hits.length !== 2) return null;
  const [a, b] = hits;
  const inner = [a.point, ...ring.slice(a.at + 1, b.at + 1), b.point, a.point];
  const outer = [...ring.slice(0, a.at + 1), a.point, b.point, ...ring.slice(b.at + 1)];
  return [inner, outer];
}

/** @param {Position} a @param {Position} b @param {Position} c @param {Position} d @returns {Position | null} */
function crossing(a, b, c, d) {
  const [rx, ry, sx, sy] = [b[0] - a[0], b[1] - a[1], d[0] - c[0], d[1] - c[1]];
  const cross = rx * sy - ry * sx;
  if (!cross) return null;
  const t = ((c[0] - a[0]) * sy - (c[1] - a[1]) * sx) / cross;
  const u = ((c[0] - a[0]) * ry - (c[1] - a[1]) * rx) / cross;
  return t >= 0 && t < 1 && u >= 0 && u <= 1 ? [a[0] + t * rx, a[1] + t * ry] : null;
}
