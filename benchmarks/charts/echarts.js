import { LineChart } from "echarts/charts";
import { GridComponent, TooltipComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

use([LineChart, GridComponent, TooltipComponent, CanvasRenderer]);

window.draw = (place, x, used, purchased, cap) => {
  place.style.width = "1000px";
  place.style.height = "320px";
  const line = (values, color, more) => ({
    type: "line",
    step: "end",
    showSymbol: false,
    data: values.map((y, n) => [x[n] * 1000, y]),
    lineStyle: { color, width: 1, ...more },
    itemStyle: { color },
  });
  init(place).setOption({
    animation: false,
    tooltip: { trigger: "axis" },
    xAxis: { type: "time" },
    yAxis: { type: "value" },
    series: [
      { ...line(used, "#2b6cb0"), areaStyle: { opacity: 0.13 } },
      line(purchased, "#3c4653", { type: "dashed" }),
      line(cap, "#b3261e", { type: "dotted" }),
    ],
  });
};
