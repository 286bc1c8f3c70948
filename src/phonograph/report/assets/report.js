// Draws the crystals with 3Dmol, and marks the reader's place.  Everything else on the page works without scripts.
"use strict";
(() => {
  document.documentElement.classList.add("js");
  const scenes = JSON.parse(document.getElementById("scenes").textContent);
  const ramp = JSON.parse(document.getElementById("ramp").textContent);
  const point = (p, s) => ({ x: p[0] + (s ? s[0] : 0), y: p[1] + (s ? s[1] : 0), z: p[2] + (s ? s[2] : 0) });
  const muted = () => getComputedStyle(document.querySelector(".quiet, .subtitle")).color;

  function colourOf(value) {
    const place = Math.min(Math.max(value, 0), 1) * (ramp.length - 1);
    return ramp[Math.round(place)];
  }

  // One shape per colour: thousands of cylinders stay a handful of draw calls.
  function shapes(viewer) {
    const made = new Map();
    return (colour) => {
      if (!made.has(colour)) made.set(colour, viewer.addShape({ color: colour }));
      return made.get(colour);
    };
  }

  function drawCell(shape, cell) {
    for (let axis = 0; axis < 3; axis += 1) {
      const [u, v] = [0, 1, 2].filter((other) => other !== axis);
      for (const [a, b] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
        const start = [0, 1, 2].map((k) => a * cell[u][k] + b * cell[v][k]);
        const end = start.map((x, k) => x + cell[axis][k]);
        shape.addCylinder({ start: point(start), end: point(end), radius: 0.025, fromCap: 1, toCap: 1 });
      }
    }
  }

  function drawAtoms(scene, positions, shape, copies, share) {
    const ball = (atom, shift, factor) => {
      const look = scene.species[scene.elements[atom]];
      shape(look.color).addSphere({ center: point(positions[atom], shift), radius: look.radius * factor, quality: 3 });
    };
    positions.forEach((_, atom) => ball(atom, null, share));
    copies.forEach(([atom, shift, factor]) => ball(atom, shift, factor));
  }

  function drawBonds(scene, positions, shape) {
    const bonds = scene.bonds;
    bonds.i.forEach((i, k) => {
      shape("#9aa5b1").addCylinder({
        start: point(positions[i]), end: point(positions[bonds.j[k]], bonds.shift[k]), radius: 0.07, fromCap: 2, toCap: 2,
      });
    });
  }

  // Edges that leave the cell are drawn from both of their atoms, each to a small image of the other.
  function drawEdges(scene, positions, shape, threshold) {
    const edges = scene.edges;
    const images = new Map();
    let shown = 0;
    const rod = (i, j, shift, value) => {
      const share = Math.min(value / scene.scale, 1);
      shape(colourOf(share)).addCylinder({
        start: point(positions[i]), end: point(positions[j], shift), radius: 0.035 + 0.085 * share, fromCap: 2, toCap: 2,
      });
      if (shift.some((x) => x !== 0)) images.set(j + ":" + shift.join(), [j, shift, 0.5]);
    };
    edges.importance.forEach((value, k) => {
      if (value < threshold) return;
      shown += 1;
      rod(edges.i[k], edges.j[k], edges.shift[k], value);
      if (edges.shift[k].some((x) => x !== 0)) rod(edges.j[k], edges.i[k], edges.shift[k].map((x) => -x), value);
    });
    return { shown, images: [...images.values()] };
  }

  function draw(panel) {
    const { viewer, scene } = panel;
    const positions = scene.views[panel.view].positions;
    viewer.removeAllShapes();
    const shape = shapes(viewer);
    drawCell(shape(muted()), scene.cell);
    let copies = [];
    if (scene.copies) copies = scene.copies.atom.map((atom, k) => [atom, scene.copies.shift[k], 1]);
    if (scene.bonds) drawBonds(scene, positions, shape);
    if (scene.edges) {
      const result = drawEdges(scene, positions, shape, panel.threshold);
      copies = result.images;
      panel.shown = result.shown;
    }
    drawAtoms(scene, positions, shape, copies, scene.edges ? 0.8 : 1);
    viewer.render();
  }

  function frame(viewer, scene, stage) {
    viewer.zoomTo();
    const view = viewer.getView(); // position x, y, z, distance, then the quaternion of the turn
    viewer.setView([...view.slice(0, 4), ...scene.view]);
    // zoomTo fits the width and leaves a margin for perspective; a flat panel is bound by its height.
    viewer.zoom(1.9 * Math.min(1, (1.25 * stage.clientHeight) / stage.clientWidth));
    viewer.render();
  }

  // 3Dmol makes an empty panel where there is no WebGL, so ask before.
  function hasWebGL() {
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
  }

  function open(box) {
    const scene = scenes[box.dataset.scene];
    const stage = box.querySelector(".stage");
    const viewer = $3Dmol.createViewer(stage, { backgroundAlpha: 0, antialias: true, disableFog: true, orthographic: true });
    const panel = { box, scene, viewer, view: 0, threshold: scene.threshold || 0, shown: 0 };
    draw(panel);
    frame(viewer, scene, stage);
    // The wheel scrolls the page; with Ctrl (or Cmd) it zooms the crystal.
    stage.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
    }, { capture: true });
    box.classList.add("live");
    return panel;
  }

  function controls(panel) {
    const bar = panel.box.parentElement.querySelector(".controls");
    if (!bar) return;
    bar.querySelectorAll("[data-view]").forEach((button) => button.addEventListener("click", () => {
      panel.view = Number(button.dataset.view);
      bar.querySelectorAll("[data-view]").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      draw(panel);
    }));
    bar.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
      panel.viewer.zoom(Number(button.dataset.zoom), 200);
    }));
  }

  function thresholds(panels) {
    document.querySelectorAll("input[data-threshold]").forEach((slider) => {
      const mine = panels.filter((panel) => panel.scene.edges);
      const update = () => {
        slider.parentElement.querySelector("output").textContent = Number(slider.value).toFixed(2);
        mine.forEach((panel) => {
          panel.threshold = Number(slider.value);
          draw(panel);
          const tally = document.querySelector('[data-tally="' + panel.box.dataset.scene + '"]');
          if (tally) tally.textContent = panel.shown + " of " + panel.scene.edges.i.length + " edges shown";
        });
      };
      let waiting = 0;
      slider.addEventListener("input", () => {
        cancelAnimationFrame(waiting);
        waiting = requestAnimationFrame(update);
      });
      update();
    });
  }

  function link(panels) {
    const explained = panels.filter((panel) => panel.scene.edges);
    for (const a of explained) for (const b of explained) if (a !== b) a.viewer.linkViewer(b.viewer);
  }

  function crystals() {
    const boxes = [...document.querySelectorAll(".crystal")];
    if (!hasWebGL()) {
      document.querySelectorAll(".needs-js").forEach((bar) => {
        bar.textContent = "This browser has no WebGL: still drawings are shown.";
      });
      return;
    }
    const panels = boxes.map(open);
    panels.forEach(controls);
    thresholds(panels);
    link(panels);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => panels.forEach(draw));
  }

  function place() {
    const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
    const seen = new Set();
    const watcher = new IntersectionObserver((entries) => {
      entries.forEach((entry) => (entry.isIntersecting ? seen.add(entry.target.id) : seen.delete(entry.target.id)));
      const first = [...links.keys()].find((id) => seen.has(id));
      if (first) links.forEach((a, id) => a.classList.toggle("here", id === first));
    }, { rootMargin: "-10% 0px -70% 0px" });
    links.forEach((_, id) => { const part = document.getElementById(id); if (part) watcher.observe(part); });
  }

  place();
  crystals();
})();
