// OHIF's own build beside an archive's DICOMweb, and a browser that looks at one series after the other.
//   node viewer.mjs DIST ARCHIVE_PORT CHROMIUM
// Each line of standard input is a request {"study", "series", "shot"}; each line of standard output its answer.
import { createReadStream, existsSync, statSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { chromium } from 'playwright-core';

const [, , distArgument, archivePort, executablePath] = process.argv;
const dist = path.resolve(distArgument);
const TYPES = {
  '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css',
  '.wasm': 'application/wasm', '.json': 'application/json', '.svg': 'image/svg+xml', '.png': 'image/png',
};
const CONFIG = `window.config = {
  routerBasename: '/', extensions: [], modes: [], customizationService: {}, showStudyList: true,
  maxNumberOfWebWorkers: 1, showWarningMessageForCrossOrigin: false, showErrorDetails: 'always',
  investigationalUseDialog: { option: 'never' }, defaultDataSourceName: 'archive',
  dataSources: [{ namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'archive',
    configuration: { friendlyName: 'archive', name: 'archive', wadoUriRoot: '/wado', qidoRoot: '/dicom-web',
      wadoRoot: '/dicom-web', qidoSupportsIncludeField: false, imageRendering: 'wadors',
      thumbnailRendering: 'wadors', enableStudyLazyLoad: true, supportsFuzzyMatching: false,
      supportsWildcard: true, omitQuotationForMultipartRequest: true, bulkDataURI: { enabled: true } } }],
};`;

// Same origin for viewer and archive, so that no cross-origin rule stands between them.
const server = http.createServer((asked, answer) => {
  const url = new URL(asked.url, 'http://local');
  if (/^\/(dicom-web|wado)(\/|$)/.test(url.pathname)) {
    const headers = { ...asked.headers };
    delete headers.host;
    const passed = http.request(
      { host: '127.0.0.1', port: archivePort, path: asked.url, method: asked.method, headers },
      (reply) => { answer.writeHead(reply.statusCode, reply.headers); reply.pipe(answer); },
    );
    passed.on('error', () => { answer.writeHead(502); answer.end(); });
    asked.pipe(passed);
    return;
  }
  const isolation = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };
  if (url.pathname === '/app-config.js') {
    answer.writeHead(200, { 'content-type': 'text/javascript', ...isolation });
    answer.end(CONFIG);
    return;
  }
  let file = path.join(dist, decodeURIComponent(url.pathname));
  if (!file.startsWith(dist) || !existsSync(file) || statSync(file).isDirectory()) file = path.join(dist, 'index.html');
  answer.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream', ...isolation });
  createReadStream(file).pipe(answer);
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const base = `http://127.0.0.1:${server.address().port}`;

const browser = await chromium.launch({
  executablePath, headless: true,
  args: ['--headless=new', '--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader',
    '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

// What the viewer holds and what it has drawn, both carried back to columns and rows of the image.
const drawn = () => {
  const engines = cornerstone.getRenderingEngines();
  const viewports = engines.flatMap((engine) => engine.getViewports());
  const toImage = (imageId, point) => Array.from(cornerstone.utilities.worldToImageCoords(imageId, point));
  const said = (data) => {
    try {
      return JSON.stringify(data).slice(0, 20000);
    } catch {
      return JSON.stringify([data.label, data.text, data.labels]);
    }
  };
  const annotations = cornerstoneTools.annotation.state.getAllAnnotations().map((annotation) => {
    const renderable = annotation.data.renderableData ?? {};
    const imageId = annotation.metadata.referencedImageId;
    const lines = Object.values(renderable).flat().filter((line) => Array.isArray(line) && line.length > 2);
    return {
      tool: annotation.metadata.toolName,
      words: said(annotation.data),
      outlines: lines.map((line) => line.map((point) => toImage(imageId, point))),
    };
  });
  const outlines = [];
  // Pixels of the image along one pixel of the viewport.
  let reduction = 1;
  const texts = [];
  for (const viewport of viewports) {
    const layer = viewport.element.querySelector('svg.svg-layer');
    const imageId = viewport.getCurrentImageId?.();
    if (!layer || !imageId) continue;
    const [origin, beside] = [[0, 0], [1, 0]].map((point) => toImage(imageId, viewport.canvasToWorld(point)));
    reduction = Math.max(reduction, Math.hypot(beside[0] - origin[0], beside[1] - origin[1]));
    for (const text of layer.querySelectorAll('text')) texts.push(text.textContent);
    for (const line of layer.querySelectorAll('polyline, polygon')) {
      const points = [...line.points].map((p) => viewport.canvasToWorld([p.x, p.y]));
      outlines.push(points.map((point) => toImage(imageId, point)));
    }
  }
  const measurements = services.measurementService.getMeasurements().map((m) => JSON.stringify([m.label, m.displayText, m.finding]));
  const sets = services.displaySetService.getActiveDisplaySets().map((set) => ({
    modality: set.Modality, description: set.SeriesDescription, unsupported: !!set.unsupported,
    loaded: set.isLoaded, rehydratable: set.isRehydratable, measurements: set.measurements?.map((m) => ({
      identifier: m.TrackingIdentifier, uid: m.TrackingUniqueIdentifier, loaded: m.loaded,
      labels: JSON.stringify(m.labels ?? []) })),
  }));
  return { annotations, outlines, reduction, texts, measurements, sets };
};

const look = async ({ study, series, shot }) => {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error).slice(0, 200)));
  try {
    await page.addInitScript(() => localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour'])));
    await page.goto(`${base}/viewer?StudyInstanceUIDs=${study}`, { waitUntil: 'domcontentloaded' });
    await page.getByText(series, { exact: false }).first().waitFor({ timeout: 90000 });
    await page.waitForFunction(
      () => window.services && services.displaySetService.getActiveDisplaySets().length > 1
        && cornerstone.getRenderingEngines().some((e) => e.getViewports().length), null, { timeout: 90000 });
    await page.getByText(series, { exact: false }).first().dblclick();
    // Under software rendering the first draw is a race: what is read is read after a forced one.
    const render = async () => {
      await page.evaluate(() => cornerstone.getRenderingEngines().forEach((engine) => engine.render()));
      await page.mouse.move(900, 500);
      await page.mouse.move(905, 505);
      await page.waitForTimeout(1000);
    };
    let seen = null;
    for (let round = 0; round < 12; round += 1) {
      await page.waitForTimeout(1000);
      await render();
      seen = await page.evaluate(drawn);
      const set = seen.sets.find((entry) => (entry.description ?? '').includes(series));
      const wanted = set?.measurements?.length ?? 0;
      if (round > 2 && (!wanted || (seen.annotations.length >= wanted && seen.outlines.length > 0))) break;
    }
    if (shot) await page.screenshot({ path: shot });
    const words = await page.evaluate(() => document.body.innerText);
    let hydrated = null;
    const yes = page.getByText('Yes', { exact: true });
    if (await yes.count()) {
      await yes.first().click();
      await page.waitForTimeout(3000);
      await render();
      hydrated = await page.evaluate(drawn);
      if (shot) await page.screenshot({ path: shot.replace(/\.png$/, '-hydrated.png') });
    }
    return { errors, ...seen, hydrated, words };
  } catch (error) {
    return { errors: [...errors, String(error).slice(0, 300)] };
  } finally {
    await page.close();
  }
};

console.log(JSON.stringify({ ready: true, browser: browser.version() }));
for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await look(JSON.parse(line))));
}
await browser.close();
server.close();
