// Values under the pointer. Without this, the page has all but them.
const runs = JSON.parse(document.getElementById("figures").textContent).runs;
const write = (value) => value.toLocaleString("en", value < 1e4 ? { maximumSignificantDigits: 4 } : { maximumFractionDigits: 0 });
for (const chart of document.querySelectorAll("figure[data-lines]")) {
  const [last, per] = [Number(chart.dataset.last), Number(chart.dataset.per)];
  const lines = JSON.parse(chart.dataset.lines).map(([run, key, label]) => ({ label, points: runs[run].curves[key] }));
  const plot = chart.querySelector(".plot");
  const drawing = chart.querySelector("svg");
  const cursor = chart.querySelector(".cursor");
  const readout = chart.querySelector(".readout");
  const end = readout.textContent;
  const nearest = (points, step) =>
    points.reduce((best, point) => (Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best));
  const show = (event) => {
    const box = drawing.getBoundingClientRect();
    const wanted = ((event.clientX - box.left) / box.width) * last;
    const step = lines.map((line) => nearest(line.points, wanted)[0])
      .reduce((best, one) => (Math.abs(one - wanted) < Math.abs(best - wanted) ? one : best));
    cursor.style.left = `${(100 * step) / last}%`;
    cursor.hidden = false;
    const values = lines.map((line) => {
      const [at, value] = nearest(line.points, step);
      return `${line.label} ${write(value / per)}${at === step ? "" : ` (${write(at)})`}`.trim();
    });
    readout.textContent = `step ${write(step)}: ${values.join(" · ")}`;
  };
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", () => {
    cursor.hidden = true;
    readout.textContent = end;
  });
}
