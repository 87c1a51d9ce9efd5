/** The front page, the alerts, and the dashboards of /dashboards/NAME.json, drawn by Perses: what one changes there is gone with the page. */
import { CssBaseline, ThemeProvider } from "@mui/material";
import { ChartsProvider, generateChartsTheme, getTheme, SnackbarProvider } from "@perses-dev/components";
import type { DashboardResource, GlobalDatasourceResource } from "@perses-dev/core";
import { type DatasourceApi, ViewDashboard } from "@perses-dev/dashboards";
import { dynamicImportPluginLoader, PluginRegistry } from "@perses-dev/plugin-system";
import { getPluginModule as prometheusModule } from "@perses-dev/prometheus-plugin/lib/getPluginModule";
import * as prometheus from "@perses-dev/prometheus-plugin/lib/plugins";
import * as stat from "@perses-dev/stat-chart-plugin";
import * as timeseries from "@perses-dev/timeseries-chart-plugin";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import * as React from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter, Route, Routes, useParams } from "react-router-dom";
import { QueryParamProvider } from "use-query-params";
import { ReactRouter6Adapter } from "use-query-params/adapters/react-router-6";
import { Alerts } from "./alerts.tsx";
import { Frame, dashboards as titles } from "./frame.tsx";
import { Start } from "./start.tsx";

const datasource: GlobalDatasourceResource = {
  kind: "GlobalDatasource",
  metadata: { name: "prometheus" },
  spec: {
    default: true,
    // For $__rate_interval: four times as long.
    plugin: { kind: "PrometheusDatasource", spec: { directUrl: "/prometheus", scrapeInterval: "15s" } },
  },
} as GlobalDatasourceResource;

const datasources: DatasourceApi = {
  getDatasource: async () => undefined,
  getGlobalDatasource: async () => datasource,
  listDatasources: async () => [],
  listGlobalDatasources: async () => [datasource],
};

// A number is of now; over a range it would be up to a step old.
const instant = { ...stat, StatChart: { ...stat.StatChart, queryOptions: { mode: "instant" } } };

const plugins = dynamicImportPluginLoader([
  { resource: prometheusModule(), importPlugin: async () => prometheus },
  { resource: timeseries.getPluginModule(), importPlugin: async () => timeseries },
  { resource: stat.getPluginModule(), importPlugin: async () => instant },
]);

const queries = new QueryClient({ defaultOptions: { queries: { refetchOnWindowFocus: false, retry: 1 } } });
const theme = getTheme(window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
const charts = generateChartsTheme(theme, {});

function Page() {
  const { name = "" } = useParams();
  const [dashboard, setDashboard] = React.useState<DashboardResource | undefined>();
  const [failure, setFailure] = React.useState<string | undefined>();
  React.useEffect(() => {
    setFailure(undefined);
    fetch(`/dashboards/${name}.json`)
      .then(async (response) => {
        if (!response.ok) throw new Error(`there is no dashboard named ${name}`);
        setDashboard(await response.json());
        document.title = titles[name] ?? name;
      })
      .catch((error: Error) => setFailure(error.message));
  }, [name]);
  const shown = failure ?? (dashboard?.metadata.name === name ? undefined : "Loading…");
  if (dashboard === undefined || shown !== undefined)
    return (
      <Frame>
        <p style={{ padding: "1em" }}>{shown}</p>
      </Frame>
    );
  return (
    <Frame>
      <ViewDashboard
        key={name}
        dashboardResource={dashboard}
        datasourceApi={datasources}
        dashboardTitleComponent={<h1 style={{ fontSize: "1.5rem", margin: 0 }}>{titles[name] ?? name}</h1>}
        isReadonly={true}
        isVariableEnabled={false}
        isDatasourceEnabled={false}
      />
    </Frame>
  );
}

createRoot(document.getElementById("root") as HTMLElement).render(
  <ThemeProvider theme={theme}>
    <CssBaseline />
    <BrowserRouter>
      <QueryParamProvider adapter={ReactRouter6Adapter}>
        <QueryClientProvider client={queries}>
          <ChartsProvider chartsTheme={charts}>
            <SnackbarProvider>
              <PluginRegistry
                pluginLoader={plugins}
                defaultPluginKinds={{
                  Panel: "TimeSeriesChart",
                  TimeSeriesQuery: "PrometheusTimeSeriesQuery",
                }}
              >
                <Routes>
                  <Route path="/" element={<Start />} />
                  <Route path="/alerts" element={<Alerts />} />
                  <Route path="/:name" element={<Page />} />
                </Routes>
              </PluginRegistry>
            </SnackbarProvider>
          </ChartsProvider>
        </QueryClientProvider>
      </QueryParamProvider>
    </BrowserRouter>
  </ThemeProvider>,
);
