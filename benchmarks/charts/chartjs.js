import "chartjs-adapter-date-fns";
import { Chart, Filler, LinearScale, LineController, LineElement, PointElement, TimeScale, Tooltip } from "chart.js";

Chart.register(Filler, LinearScale, LineController, LineElement, PointElement, TimeScale, Tooltip);

window.draw = (place, x, used, purchased, cap) => {
  const canvas = place.appendChild(document.createElement("canvas"));
  canvas.width = 1000;
  canvas.height = 320;
  const line = (values, borderColor, more) => ({
    data: values.map((y, n) => ({ x: x[n] * 1000, y })),
    borderColor,
    borderWidth: 1,
    stepped: true,
    pointRadius: 0,
    ...more,
  });
  new Chart(canvas, {
    type: "line",
    data: {
      datasets: [
        line(used, "#2b6cb0", { fill: true, backgroundColor: "#2b6cb022" }),
        line(purchased, "#3c4653", { borderDash: [6, 4] }),
        line(cap, "#b3261e", { borderDash: [2, 3] }),
      ],
    },
    options: { animation: false, responsive: false, parsing: false, normalized: true, scales: { x: { type: "time" } } },
  });
};
