// Type-checks every dashboard: each becomes a constant of the type Dashboard in
// generated/, and tsc looks at them all. Then it looks at spoiled copies, each of
// which it must refuse: a check that accepts anything would not be noticed.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const dashboards = join(here, '../../observability/grafana/dashboards');
const generated = join(here, 'generated');

// check returns what tsc says of the sources, by file name.
function check(sources) {
  rmSync(generated, { recursive: true, force: true });
  mkdirSync(generated);
  for (const [name, json] of Object.entries(sources)) {
    writeFileSync(
      join(generated, `${name}.ts`),
      `import type { Dashboard } from '../dashboard';\nexport const dashboard: Dashboard = ${json};\n`,
    );
  }
  const tsc = spawnSync(process.execPath, [join(here, 'node_modules/typescript/bin/tsc'), '-p', here, '--pretty', 'false'], {
    encoding: 'utf8',
  });
  return { ok: tsc.status === 0, output: tsc.stdout + tsc.stderr };
}

const panel = (d, type) => d.panels.find((p) => p.type === type);
const spoiled = {
  'number-for-title': (d) => (d.title = 1),
  'unknown-key': (d) => (d.panles = []),
  'unknown-kind': (d) => (panel(d, 'timeseries').type = 'graph'),
  'unknown-option': (d) => (panel(d, 'timeseries').options.legends = {}),
  'wrong-enum': (d) => (panel(d, 'timeseries').options.tooltip.mode = 'many'),
  'wrong-custom': (d) => (panel(d, 'timeseries').fieldConfig.defaults.custom.lineWidth = '1'),
  'wrong-query': (d) => (panel(d, 'timeseries').targets[0].legendFomrat = 'x'),
  'wrong-datasource': (d) => (panel(d, 'stat').datasource.uid = 'P1809F7CD0C75ACF3'),
  'no-description': (d) => delete panel(d, 'stat').description,
  'wrong-variable': (d) => (d.templating.list[0].hide = 7),
};

const sources = {};
for (const file of readdirSync(dashboards).filter((f) => f.endsWith('.json')).sort()) {
  sources[file.slice(0, -'.json'.length)] = readFileSync(join(dashboards, file), 'utf8');
}
const names = Object.keys(sources);
if (names.length === 0) throw new Error(`no dashboards in ${dashboards}`);

const result = check(sources);
if (!result.ok) {
  process.stderr.write(result.output);
  process.exit(1);
}
console.log(`type-checked: ${names.join(', ')}`);

const copies = {};
for (const [name, spoil] of Object.entries(spoiled)) {
  const copy = JSON.parse(sources[names[0]]);
  spoil(copy);
  copies[name] = JSON.stringify(copy, null, 2);
}
const refused = check(copies).output;
const accepted = Object.keys(copies).filter((name) => !refused.includes(`generated/${name}.ts`));
rmSync(generated, { recursive: true, force: true });
if (accepted.length > 0) {
  console.error(`accepted though spoiled: ${accepted.join(', ')}`);
  process.exit(1);
}
console.log(`refused, as it must: ${Object.keys(copies).join(', ')}`);
