// Viewer of scans: NiiVue with the image, annotation and prediction of one patient at a time.

const element = (name) => document.getElementById(name);

/** Bytes of a base64 text. */
const decoded = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Bytes that were compressed, as gzip or deflate (zlib). */
async function inflated(bytes, format) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Voxels of an image whose axial slices lie side by side in one picture. */
async function imageVoxels(scan) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const picture = await createImageBitmap(new Blob([decoded(scan.image)], { type: "image/webp" }), options);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const [width, height, slices] = scan.shape;
  const voxels = new Uint8Array(width * height * slices);
  let place = 0;
  for (let z = 0; z < slices; z++) {
    const [left, top] = [(z % scan.columns) * width, Math.floor(z / scan.columns) * height];
    for (let y = 0; y < height; y++) {
      let pixel = 4 * ((top + y) * canvas.width + left);
      for (let x = 0; x < width; x++, pixel += 4) voxels[place++] = pixels[pixel];
    }
  }
  return voxels;
}

/** NIfTI file of 8-bit voxels in RAS+, the middle of the volume at the origin. */
function nifti(scan, voxels) {
  const buffer = new ArrayBuffer(352 + voxels.length);
  const header = new DataView(buffer);
  header.setInt32(0, 348, true);
  header.setInt16(40, 3, true);
  scan.shape.forEach((side, axis) => {
    const length = scan.spacing[axis];
    header.setInt16(42 + 2 * axis, side, true);
    header.setFloat32(80 + 4 * axis, length, true);
    header.setFloat32(280 + 20 * axis, length, true); // diagonal of the affine
    header.setFloat32(292 + 16 * axis, (-length * (side - 1)) / 2, true);
  });
  for (let axis = 4; axis < 8; axis++) header.setInt16(40 + 2 * axis, 1, true);
  header.setInt16(70, 2, true); // uint8
  header.setInt16(72, 8, true);
  header.setFloat32(76, 1, true);
  header.setFloat32(108, 352, true);
  header.setFloat32(112, 1, true);
  header.setUint8(123, 2); // millimetres
  header.setInt16(254, 1, true);
  header.setUint32(344, 0x00312b6e, true); // "n+1"
  new Uint8Array(buffer, 352).set(voxels);
  return buffer;
}

/** Voxels that both have (1), that the annotation alone has (2), and the prediction alone (3). */
function differences(truth, prediction) {
  return truth.map((value, place) => (value ? (prediction[place] ? 1 : 2) : prediction[place] ? 3 : 0));
}

/** Colour map of labels for NiiVue: colours as #RRGGBB, background clear. */
function colourMap(colours, names) {
  const channel = (first) => [0, ...colours.map((colour) => parseInt(colour.slice(first, first + 2), 16))];
  return { R: channel(1), G: channel(3), B: channel(5), A: [0, ...colours.map(() => 255)], labels: ["", ...names] };
}

/** Voxel in the middle of the axial slice with most of a label; that of the volume where there is none. */
function middle(scan, label) {
  const [width, height, slices] = scan.shape;
  let best = { count: 0, voxel: [width >> 1, height >> 1, slices >> 1] };
  for (let z = 0, place = 0; z < slices; z++) {
    let [count, sumX, sumY] = [0, 0, 0];
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) if (label[place++]) [count, sumX, sumY] = [count + 1, sumX + x, sumY + y];
    if (count > best.count) best = { count, voxel: [Math.round(sumX / count), Math.round(sumY / count), z] };
  }
  return best.voxel;
}

class Viewer {
  constructor(settings) {
    this.settings = settings;
    this.overlays = {}; // name of an overlay -> place among the volumes
    this.scan = null;
  }

  async start() {
    const packed = decoded(element("niivue").textContent.trim());
    const source = new TextDecoder().decode(await inflated(packed, "gzip"));
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.niivue = await import(address);
    URL.revokeObjectURL(address);
    this.nv = new this.niivue.Niivue({
      isRadiologicalConvention: true,
      backColor: [0, 0, 0, 1],
      crosshairColor: [1, 1, 1, 0.35],
      crosshairGap: 6,
      isResizeCanvas: true,
      dragAndDropEnabled: false,
      multiplanarShowRender: this.niivue.SHOW_RENDER.NEVER,
      logLevel: "error",
    });
    this.nv.onLocationChange = (location) => this.showLocation(location.vox);
    await this.nv.attachToCanvas(element("canvas"));
    this.nv.setInterpolation(true);
    for (const box of document.querySelectorAll("[data-overlay]")) box.addEventListener("change", () => this.applyOverlays());
    for (const button of document.querySelectorAll("[data-plane]"))
      button.addEventListener("click", () => this.showPlane(button.dataset.plane));
    element("opacity").addEventListener("input", () => this.applyOverlays());
    element("previous").addEventListener("click", () => this.move(-1));
    element("next").addEventListener("click", () => this.move(1));
    element("patient").addEventListener("change", () => this.show(Number(element("patient").value)));
    for (const link of document.querySelectorAll("[data-scan]"))
      link.addEventListener("click", () => this.show(Number(link.dataset.scan)));
    document.addEventListener("keydown", (event) => this.press(event));
    await this.show(0);
  }

  async volume(scan, voxels, name, colours, names) {
    const [map, least, most] = name === "probability" ? ["warm", 25, 248] : ["gray", 0, 255]; // below the least it is clear
    const image = await this.niivue.NVImage.new(nifti(scan, voxels), `${name}.nii`, map, 1, null, least, most, true, 0.02,
      false, false, "", 0, 0, NaN, NaN, false, null, 0, null);
    if (colours) image.setColormapLabel(colourMap(colours, names));
    return image;
  }

  async show(number) {
    const entry = element(`scan-${number}`);
    if (!entry) return;
    const scan = JSON.parse(entry.textContent);
    this.number = number;
    element("patient").value = String(number);
    element("previous").disabled = number === 0;
    element("next").disabled = number === this.settings.scans - 1;
    const labels = {};
    for (const [name, text] of Object.entries(scan.labels)) labels[name] = await inflated(decoded(text), "deflate");
    const image = await imageVoxels(scan);
    if (this.number !== number) return; // another one was chosen meanwhile
    const { colours, classes } = this.settings;
    const volumes = [await this.volume(scan, image, scan.name)];
    this.overlays = {};
    for (const [name, label] of Object.entries(labels)) {
      this.overlays[name] = volumes.length;
      const isMap = name === "probability";
      volumes.push(await this.volume(scan, label, name, isMap ? null : colours, classes));
    }
    if (labels.truth && labels.prediction) {
      this.overlays.differences = volumes.length;
      const words = ["in both", "missed", "too much"];
      volumes.push(await this.volume(scan, differences(labels.truth, labels.prediction), "differences", this.settings.different, words));
    }
    while (this.nv.volumes.length) this.nv.removeVolume(this.nv.volumes[0]);
    for (const volume of volumes) this.nv.addVolume(volume);
    this.scan = scan;
    this.nv.opts.isOrientationTextVisible = scan.oriented;
    if (!this.plane) this.showPlane(scan.oriented ? "all" : "axial"); // without geometry other planes are not to scale
    for (const box of document.querySelectorAll("[data-overlay]")) box.disabled = !(box.dataset.overlay in this.overlays);
    this.applyOverlays();
    this.goTo(middle(scan, labels.truth && labels.truth.some(Boolean) ? labels.truth : Object.values(labels)[0] ?? new Uint8Array(0)));
    element("caption").textContent = scan.caption;
    element("viewer").dataset.shown = String(number);
  }

  applyOverlays() {
    const opacity = Number(element("opacity").value);
    for (const box of document.querySelectorAll("[data-overlay]")) {
      const place = this.overlays[box.dataset.overlay];
      if (place !== undefined) this.nv.setOpacity(place, box.checked ? opacity : 0);
    }
  }

  goTo(voxel) {
    this.nv.scene.crosshairPos = this.nv.vox2frac(voxel);
    this.nv.createOnLocationChange();
    this.nv.drawScene();
  }

  showPlane(name) {
    const types = this.niivue.SLICE_TYPE;
    const planes = { all: types.MULTIPLANAR, axial: types.AXIAL, coronal: types.CORONAL, sagittal: types.SAGITTAL, render: types.RENDER };
    this.nv.setSliceType(planes[name]);
    this.plane = name;
    for (const button of document.querySelectorAll("[data-plane]"))
      button.setAttribute("aria-pressed", String(button.dataset.plane === name));
  }

  showLocation(voxel) {
    if (this.scan) element("location").textContent = `slice ${Math.round(voxel[2]) + 1} of ${this.scan.shape[2]}`;
  }

  /** Move by a slice along the axis that the shown plane is perpendicular to. */
  moveSlice(step) {
    const axis = { coronal: 1, sagittal: 0 }[this.plane] ?? 2;
    this.nv.moveCrosshairInVox(...[0, 1, 2].map((each) => (each === axis ? step : 0)));
  }

  move(step) {
    const rows = [...element("patient").options].map((option) => Number(option.value));
    const place = rows.indexOf(this.number) + step;
    if (place >= 0 && place < rows.length) this.show(rows[place]);
  }

  press(event) {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) && event.target.type !== "checkbox";
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !element("viewer").contains(document.activeElement)) return;
    const toggled = { t: "truth", p: "prediction", d: "differences", r: "probability" }[event.key];
    const plane = { 1: "all", 2: "axial", 3: "coronal", 4: "sagittal", 5: "render" }[event.key];
    if (toggled) document.querySelector(`[data-overlay=${toggled}]`)?.click();
    else if (plane) this.showPlane(plane);
    else if (event.key === "n") this.move(1);
    else if (event.key === "b") this.move(-1);
    else if (event.key === "ArrowUp") this.moveSlice(1);
    else if (event.key === "ArrowDown") this.moveSlice(-1);
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}

/** Start the viewer once, when it comes near the window: the scans of a long page cost nothing before. */
function startLater() {
  const box = element("viewer");
  if (!box) return;
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    const viewer = new Viewer(JSON.parse(element("viewer-settings").textContent));
    viewer.start().catch((error) => {
      element("caption").textContent = `The scans cannot be shown: ${error.message}. A browser with WebGL 2 is needed.`;
      box.dataset.failed = "true";
    });
  }, { rootMargin: "400px" });
  observer.observe(box);
}

startLater();
