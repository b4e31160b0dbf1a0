/** Drawing and editing shapes on a map, one at a time. */

import {
  TerraDraw, TerraDrawCircleMode, TerraDrawLineStringMode, TerraDrawPolygonMode, TerraDrawSelectMode,
} from "terra-draw";
import { TerraDrawMapLibreGLAdapter } from "terra-draw-maplibre-gl-adapter";

const COLOR = "#d6336c";
const FILLED = { fillColor: COLOR, fillOpacity: 0.2, outlineColor: COLOR, outlineWidth: 2 };
const EDITED = {
  selectedPolygonColor: COLOR, selectedPolygonFillOpacity: 0.25, selectedPolygonOutlineColor: COLOR,
  selectedPolygonOutlineWidth: 2, selectionPointColor: "#ffffff", selectionPointOutlineColor: COLOR,
};

/** What the pencil is for at the moment. */
export class Pencil {
  /** @param {any} map @param {AbortSignal} signal */
  constructor(map, signal) {
    const shape = { feature: { draggable: true, coordinates: { midpoints: true, draggable: true, deletable: true } } };
    this.draw = new TerraDraw({
      adapter: new TerraDrawMapLibreGLAdapter({ map, coordinatePrecision: 7 }),
      modes: [
        new TerraDrawCircleMode({ styles: /** @type {any} */ (FILLED) }),
        new TerraDrawPolygonMode({ styles: /** @type {any} */ (FILLED) }),
        new TerraDrawLineStringMode({ styles: { lineStringColor: COLOR, lineStringWidth: 3 } }),
        new TerraDrawSelectMode({
          flags: { polygon: shape, circle: { feature: { draggable: true, coordinates: { resizable: "center-fixed" } } } },
          styles: /** @type {any} */ (EDITED),
        }),
      ],
    });
    /** @type {((feature: any) => void) | null} */
    this.onShape = null;
    this.draw.on("finish", (id) => {
      const feature = this.draw.getSnapshotFeature(id);
      if (feature) this.onShape?.(feature);
    });
    signal.addEventListener("abort", () => { if (this.draw.enabled) this.draw.stop(); });
  }

  /** Starts a new shape. @param {"circle" | "polygon" | "linestring"} mode @param {(feature: any) => void} onShape */
  begin(mode, onShape) {
    this.end();
    this.draw.start();
    this.draw.setMode(mode);
    this.onShape = (feature) => {
      this.onShape = onShape;
      onShape(feature);
      if (mode !== "linestring") this.#select(feature.id);
    };
  }

  /** Edits a shape. @param {any} feature @param {(feature: any) => void} onShape */
  edit(feature, onShape) {
    this.end();
    this.draw.start();
    this.onShape = onShape;
    const [added] = this.draw.addFeatures([feature]);
    if (!added.valid) throw new Error(`This shape cannot be edited by hand: ${added.reason ?? "it is not valid"}`);
    this.#select(/** @type {any} */ (added.id));
  }

  /** @param {string | number} id */
  #select(id) {
    this.draw.setMode("select");
    this.draw.selectFeature(id);
  }

  end() {
    this.onShape = null;
    if (!this.draw.enabled) return;
    this.draw.clear();
    this.draw.stop();
  }
}
