// Dragging over the photo fills the box field, in pixels of the photo.
(() => {
  let image = null, start = null, frame = null, drawn = null, watcher = null;
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  const inside = (event) => {
    const edge = image.getBoundingClientRect();
    // The picture is fitted into its element and centred there.
    const scale = Math.min(edge.width / image.naturalWidth, edge.height / image.naturalHeight);
    const left = edge.left + (edge.width - image.naturalWidth * scale) / 2;
    const top = edge.top + (edge.height - image.naturalHeight * scale) / 2;
    return { left, top, scale, x: clamp((event.clientX - left) / scale, image.naturalWidth),
             y: clamp((event.clientY - top) / scale, image.naturalHeight) };
  };
  const rectangle = (point) => [Math.min(start.x, point.x), Math.min(start.y, point.y),
    Math.abs(start.x - point.x), Math.abs(start.y - point.y)];
  const write = (text) => {
    const field = document.querySelector('#box textarea, #box input');
    if (!field) return;
    const proto = field.tagName === 'TEXTAREA' ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(proto.prototype, 'value').set.call(field, text);
    field.dispatchEvent(new Event('input', { bubbles: true }));
  };
  const clear = () => {
    if (frame) frame.remove();
    if (watcher) watcher.disconnect();
    frame = drawn = watcher = null;
  };
  // Where the box is in the page now: it stays on the photo when something scrolls.
  const place = () => {
    if (!frame || !drawn) return;
    const { left, top, scale } = inside({ clientX: 0, clientY: 0 }), [x, y, width, height] = drawn;
    Object.assign(frame.style, { left: `${left + x * scale + scrollX}px`,
      top: `${top + y * scale + scrollY}px`, width: `${width * scale}px`,
      height: `${height * scale}px` });
  };
  // Another photo, or none, has no box.
  const watch = (photo) => {
    const source = photo.src;
    watcher = new MutationObserver(() => {
      if (!photo.isConnected || photo.src !== source) clear();
    });
    watcher.observe(document.querySelector('#photo'),
      { childList: true, subtree: true, attributes: true, attributeFilter: ['src'] });
  };
  document.addEventListener('dragstart', (event) => {
    if (event.target.closest && event.target.closest('#photo img')) event.preventDefault();
  });
  document.addEventListener('pointerdown', (event) => {
    const found = event.target.closest && event.target.closest('#photo img');
    if (!found || event.button) return;
    event.preventDefault();
    clear();
    image = found;
    start = inside(event);
    frame = document.createElement('div');
    frame.id = 'dragged';
    document.body.appendChild(frame);
    watch(image);
  });
  document.addEventListener('pointermove', (event) => {
    if (!start) return;
    drawn = rectangle(inside(event));
    place();
  });
  document.addEventListener('pointerup', (event) => {
    if (!start) return;
    const values = rectangle(inside(event)).map(Math.round);
    start = null;
    // A click without dragging means everybody again.
    if (values[2] < 4 || values[3] < 4) { clear(); write(''); } else write(values.join(', '));
  });
  document.addEventListener('pointercancel', () => { start = null; clear(); });
  // What is typed is no longer what was dragged.
  document.addEventListener('input', (event) => {
    if (event.isTrusted && event.target.closest && event.target.closest('#box')) clear();
  }, true);
  document.addEventListener('scroll', place, true);
  window.addEventListener('resize', place);
})();
