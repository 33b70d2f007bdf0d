// OHIF's own build beside an archive's DICOMweb, and a browser that looks at one series after the other.
//   node viewer.mjs DIST ARCHIVE_PORT CHROMIUM
// Each line of standard input is a request {"study", "image", "series": [...], "shots"}; each line of standard output its
// answer {"imageShown", "answers"}, with an entry for each series. The study is opened once; the series of the image
// with the UID "image" is shown first, then those whose descriptions hold the words in "series", one after the other.
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
  // What is under this name never changes here, so the browser compiles the viewer once.
  const kept = file.endsWith('.html') ? {} : { 'cache-control': 'max-age=86400, immutable' };
  answer.writeHead(200, {
    'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream', ...isolation, ...kept,
  });
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
    uid: set.displaySetInstanceUID, modality: set.Modality, description: set.SeriesDescription ?? '', unsupported: !!set.unsupported,
    loaded: set.isLoaded, rehydratable: set.isRehydratable, measurements: set.measurements?.map((m) => ({
      identifier: m.TrackingIdentifier, uid: m.TrackingUniqueIdentifier, loaded: m.loaded,
      labels: JSON.stringify(m.labels ?? []) })),
  }));
  const shownSets = [...services.viewportGridService.getState().viewports.values()]
    .flatMap((viewport) => viewport.displaySetInstanceUIDs);
  const shown = sets.filter(({ uid }) => shownSets.includes(uid)).map(({ description }) => description);
  return { annotations, outlines, reduction, texts, measurements, sets, shown, shownSets };
};

// Pages of one context share its cache.
const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
await context.addInitScript(() => localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour'])));
const SHOWN_WITHIN_MS = 90000;
const IMAGE_WITHIN_MS = 20000;

const show = async (page, series, withImage, shot) => {
  await page.getByText(series, { exact: false }).first().dblclick();
  // Under software rendering the first draw is a race: what is read is read after a forced one.
  const render = async () => {
    await page.evaluate(() => cornerstone.getRenderingEngines().forEach((engine) => engine.render()));
    await page.mouse.move(900, 500);
    await page.mouse.move(905, 505);
    await page.waitForTimeout(500);
  };
  // A box is drawn where its annotation is; before the viewport has its last size it stands elsewhere for a moment.
  const drawnAt = (line, seen) => seen.outlines.some((outline) => line.every((corner) => outline.some(
    (point) => Math.hypot(point[0] - corner[0], point[1] - corner[1]) <= 2 * seen.reduction)));
  const complete = (seen) => {
    const set = seen.sets.find(({ uid, description }) => seen.shownSets.includes(uid) && description.includes(series));
    if (!set?.measurements?.length) return Boolean(set);
    const lines = seen.annotations.flatMap((annotation) => annotation.outlines);
    return lines.length >= set.measurements.length && (!withImage || lines.every((line) => drawnAt(line, seen)));
  };
  let seen = null;
  const deadline = Date.now() + SHOWN_WITHIN_MS;
  do {
    await render();
    seen = await page.evaluate(drawn);
  } while (!complete(seen) && Date.now() < deadline);
  if (shot) await page.screenshot({ path: shot });
  let hydrated = null;
  const yes = page.getByText('Yes', { exact: true });
  if (await yes.count()) {
    await yes.first().click();
    await page.waitForTimeout(1500);
    await render();
    hydrated = await page.evaluate(drawn);
    if (shot) await page.screenshot({ path: shot.replace(/\.png$/, '-hydrated.png') });
  }
  return { ...seen, hydrated };
};

// Whether the viewer shows an image series at all: some are sent in ways that it does not, whatever lies over them.
const imageShown = async (page, image) => {
  await page.evaluate((uid) => {
    const [set] = services.displaySetService.getDisplaySetsForSeries(uid);
    const { activeViewportId } = services.viewportGridService.getState();
    services.viewportGridService.setDisplaySetsForViewport(
      { viewportId: activeViewportId, displaySetInstanceUIDs: [set.displaySetInstanceUID] });
  }, image);
  const visible = (uid) => cornerstone.getRenderingEngines().flatMap((engine) => engine.getViewports()).some((one) => {
    const imageId = one.getCurrentImageId?.();
    const shown = imageId && cornerstone.metaData.get('generalSeriesModule', imageId)?.seriesInstanceUID === uid;
    return shown && one.getImageData?.() && one.canvasToWorld([0, 0]).every(Number.isFinite);
  });
  return page.waitForFunction(visible, image, { timeout: IMAGE_WITHIN_MS }).then(() => true, () => false);
};

const look = async ({ study, image, series, shots }) => {
  const page = await context.newPage();
  let errors = [];
  page.on('pageerror', (error) => errors.push(String(error).slice(0, 200)));
  const answers = [];
  let shown = false;
  try {
    await page.goto(`${base}/viewer?StudyInstanceUIDs=${study}`, { waitUntil: 'domcontentloaded' });
    await page.getByText(series[0], { exact: false }).first().waitFor({ timeout: SHOWN_WITHIN_MS });
    await page.waitForFunction(
      () => window.services && services.displaySetService.getActiveDisplaySets().length > 1
        && cornerstone.getRenderingEngines().some((e) => e.getViewports().length), null, { timeout: SHOWN_WITHIN_MS });
    shown = await imageShown(page, image);
    for (const [number, name] of series.entries()) {
      const seen = await show(page, name, shown, shots?.[number]);
      answers.push({ errors, ...seen });
      errors = [];
    }
  } catch (error) {
    answers.push({ errors: [...errors, String(error).slice(0, 300)] });
  } finally {
    await page.close();
  }
  return { imageShown: shown, answers };
};

console.log(JSON.stringify({ ready: true, browser: browser.version() }));
for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await look(JSON.parse(line))));
}
await browser.close();
server.close();
