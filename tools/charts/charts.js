// The part of Apache ECharts that the report uses, as one object: echarts.init and what is registered here.
export { init } from "echarts/core";
import { use } from "echarts/core";
import { BarChart, SankeyChart } from "echarts/charts";
import { GridComponent, TooltipComponent } from "echarts/components";
import { CanvasRenderer } from "echarts/renderers";

use([BarChart, CanvasRenderer, GridComponent, SankeyChart, TooltipComponent]);
