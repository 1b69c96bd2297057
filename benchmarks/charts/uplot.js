import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

window.draw = (place, x, used, purchased, cap) => {
  const stepped = uPlot.paths.stepped({ align: 1 });
  const line = (stroke, more) => ({ stroke, paths: stepped, points: { show: false }, ...more });
  const options = {
    width: 1000,
    height: 320,
    legend: { show: false },
    series: [{}, line("#2b6cb0", { fill: "#2b6cb022" }), line("#3c4653", { dash: [6, 4] }), line("#b3261e", { dash: [2, 3] })],
  };
  new uPlot(options, [x, used, purchased, cap], place);
};
