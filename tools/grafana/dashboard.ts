// What a dashboard of observability/grafana/dashboards/ must look like: the
// types of @grafana/schema, made strict where they leave room. There a panel's
// options are any record; here each kind of panel has its own.
import type { Dashboard as AnyDashboard, DashboardLink, FieldConfig, Panel, RowPanel } from '@grafana/schema';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as stateTimeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as text from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON knows no enums: where the schema has one, its values may stand.
type Plain<T> = 0 extends 1 & T
  ? T
  : T extends string
    ? `${T}`
    : T extends number | boolean | null | undefined
      ? T
      : T extends Array<infer U>
        ? Array<Plain<U>>
        : T extends object
          ? { [K in keyof T]: Plain<T[K]> }
          : T;

interface Reference<Type extends string, Uid extends string> {
  type: Type;
  uid: Uid;
}

// The schema package has no types for these two kinds of query.
interface PrometheusQuery {
  exemplar?: boolean;
  expr: string;
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
  interval?: string;
  legendFormat: string;
  range?: boolean;
  refId: string;
}

interface JaegerSearch {
  limit: number;
  queryType: 'search';
  refId: string;
  service: string;
  tags: string;
}

interface JaegerTrace {
  query: string;
  refId: string;
}

type FromPrometheus = { datasource: Reference<'prometheus', '${datasource}'>; targets: PrometheusQuery[] };
type FromJaeger = { datasource: Reference<'jaeger', 'jaeger'>; targets: Array<JaegerSearch | JaegerTrace> };
type FromNowhere = { datasource?: never; targets?: never };

// A panel's and a field's links are the same thing. The schema takes the first
// for a dashboard's, of which they have these keys only, and leaves the second open.
type Link = Required<Pick<DashboardLink, 'title' | 'url'>> & Partial<Pick<DashboardLink, 'targetBlank'>>;

// Required<> of what the schema has as optional: every panel says what it is.
type Common = { links?: Link[] } & Plain<
  Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'datasource' | 'targets' | 'links'> &
    Required<Pick<Panel, 'id' | 'title' | 'description' | 'gridPos'>>
>;

type Fields<Custom> = {
  fieldConfig: {
    defaults: Plain<Omit<FieldConfig, 'custom' | 'links'>> & { custom?: Plain<Custom>; links?: Link[] };
    overrides: Plain<NonNullable<Panel['fieldConfig']>['overrides']>;
  };
};

type Kind<Type extends string, Options, Custom> = Common & Fields<Custom> & { type: Type; options: Plain<Options> };

type DashboardPanel =
  | Plain<RowPanel>
  | (Kind<'heatmap', heatmap.Options, heatmap.FieldConfig> & FromPrometheus)
  | (Kind<'stat', stat.Options, never> & FromPrometheus)
  | (Kind<'state-timeline', stateTimeline.Options, stateTimeline.FieldConfig> & FromPrometheus)
  | (Kind<'table', table.Options, table.FieldConfig> & (FromPrometheus | FromJaeger))
  | (Kind<'text', text.Options, never> & FromNowhere)
  | (Kind<'timeseries', timeseries.Options, timeseries.FieldConfig> & FromPrometheus)
  | (Common & Fields<never> & FromJaeger & { type: 'traces'; options?: never });

// Of annotations the schema knows what all have; the query is the data source's.
type Annotation = Plain<NonNullable<NonNullable<AnyDashboard['annotations']>['list']>[number]> & {
  expr?: string;
  textFormat?: string;
  titleFormat?: string;
};

// version, id and iteration are Grafana's own bookkeeping: never in a file.
export type Dashboard = Plain<Omit<AnyDashboard, 'panels' | 'annotations' | 'version' | 'id'>> & {
  annotations: { list: Annotation[] };
  panels: DashboardPanel[];
  title: string;
  uid: string;
};
