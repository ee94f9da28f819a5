/** As much of a browser's canvas as onnxruntime-common uses for images. */

/** Four bytes a pixel. */
class Pixels {
  readonly data: Uint8ClampedArray;
  readonly width: number;
  readonly height: number;

  constructor(data: Uint8ClampedArray, width: number, height: number) {
    this.data = data;
    this.width = width;
    this.height = height;
  }
}

export class FakeImageData extends Pixels {}
export class FakeImageBitmap extends Pixels {}

class FakeContext {
  fillStyle = '';
  readonly #canvas: FakeCanvas;
  readonly #pixels = new Map<string, readonly number[]>();

  constructor(canvas: FakeCanvas) {
    this.#canvas = canvas;
  }

  putImageData({ data, width }: Pixels, left: number, top: number): void {
    for (let i = 0; i * 4 < data.length; i++) {
      this.#set(left + (i % width), top + Math.floor(i / width), [...data.subarray(4 * i, 4 * i + 4)]);
    }
  }
  drawImage(image: Pixels, left: number, top: number): void {
    this.putImageData(image, left, top);
  }
  createImageData(width: number, height: number): FakeImageData {
    return new FakeImageData(new Uint8ClampedArray(4 * width * height), width, height);
  }
  getImageData(left: number, top: number, width: number, height: number): FakeImageData {
    const image = this.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      image.data.set(this.#get(left + (i % width), top + Math.floor(i / width)), 4 * i);
    }
    return image;
  }
  /** Of one pixel, in the form `rgba(1,2,3,255)`. */
  fillRect(x: number, y: number): void {
    this.#set(x, y, this.fillStyle.slice('rgba('.length, -1).split(',').map(Number));
  }

  #get = (x: number, y: number): readonly number[] => this.#pixels.get(`${x} ${y}`) ?? [0, 0, 0, 0];
  #set(x: number, y: number, pixel: readonly number[]): void {
    if (x < this.#canvas.width && y < this.#canvas.height) this.#pixels.set(`${x} ${y}`, pixel);
  }
}

export class FakeCanvas {
  width: number;
  height: number;
  readonly #context: FakeContext;

  constructor(width: number, height: number) {
    this.width = width;
    this.height = height;
    this.#context = new FakeContext(this);
  }
  getContext(): FakeContext {
    return this.#context;
  }
  /** The pixels as text. */
  toDataURL(): string {
    const { data } = this.#context.getImageData(0, 0, this.width, this.height);
    return `data:pixels,${this.width}x${this.height},${[...data].join()}`;
  }
}
