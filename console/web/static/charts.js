// Draws the charts of the Overview with uPlot, so that a pointer shows the figures of each minute. Without this script the
// server's drawing stays.
(() => {
  const MINUTE = 60;
  const numbers = (text) => (text ? text.split(" ").map(Number) : []);
  const written = new Intl.NumberFormat("en");

  const colour = (chart, part) => {
    const path = chart.querySelector(part ? ".bars path.part" : ".bars path:not(.ground)");
    return path ? getComputedStyle(path).fill : "gray";
  };

  const clock = (zone) => new Intl.DateTimeFormat("en-GB", {
    hour: "2-digit", minute: "2-digit", timeZoneName: "short", timeZone: zone,
  });

  // Says what the pointer is on, in place of the highest minute.
  const saying = (chart, values, part, start) => {
    const at = chart.querySelector(".chart-at"), usual = at.textContent, time = clock(chart.dataset.zone);
    return (plot) => {
      // A bar begins at its minute; uPlot's own index is of the nearest beginning, which may be the next one's.
      const left = plot.cursor.left ?? -1;
      const place = Math.floor((plot.posToVal(left, "x") - start) / MINUTE);
      if (left < 0 || !(place in values)) {
        at.textContent = usual;
        return;
      }
      const refused = part.length && part[place] ? `, ${written.format(part[place])} ${chart.dataset.partTitle}` : "";
      at.textContent = `${time.format((start + place * MINUTE) * 1000)}: ${written.format(values[place])}${refused}`;
    };
  };

  const markDeployments = (chart, start) => (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = getComputedStyle(chart).color;
    ctx.setLineDash([4, 3]);
    for (const place of numbers(chart.dataset.marks)) {
      const x = plot.valToPos(start + place * MINUTE, "x", true);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  };

  const draw = (chart) => {
    const holder = chart.querySelector(".plot"), start = Number(chart.dataset.start);
    const values = numbers(chart.dataset.values), part = numbers(chart.dataset.part);
    const bars = uPlot.paths.bars({ size: [0.8, Infinity], align: 1 });
    const one = (fill) => ({ fill, width: 0, paths: bars, points: { show: false } });
    const options = {
      width: holder.clientWidth,
      height: holder.clientHeight,
      padding: [2, 0, 0, 0],
      legend: { show: false },
      axes: [{ show: false }, { show: false }],
      scales: {
        x: { range: [start, start + values.length * MINUTE] },
        y: { range: [0, Math.max(1, ...values)] },
      },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      series: [{}, one(colour(chart, false)), ...(part.length ? [one(colour(chart, true))] : [])],
      hooks: { setCursor: [saying(chart, values, part, start)], draw: [markDeployments(chart, start)] },
    };
    const times = values.map((_, place) => start + place * MINUTE);
    holder.querySelector("svg").remove();
    const plot = new uPlot(options, [times, values, ...(part.length ? [part] : [])], holder);
    new ResizeObserver(() => plot.setSize({ width: holder.clientWidth, height: holder.clientHeight })).observe(holder);
  };

  const drawAll = () => document.querySelectorAll(".chart[data-start]").forEach((chart) => {
    if (chart.querySelector("svg")) draw(chart);
  });

  drawAll();
  document.addEventListener("htmx:afterSwap", drawAll);
})();
