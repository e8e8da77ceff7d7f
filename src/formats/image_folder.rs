//! A folder of images in one subfolder for each class.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};
use rayon::prelude::*;

use super::bytes::product;
use super::dataset::{Dataset, Header, MAX_CLASSES, Samples, Targets};
use super::error::{FormatError, Place, quote};
use super::files::Files;

/// How images are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFolderOptions {
    /// Height and width to resize to; without it, all images must have one size.
    pub resize: Option<[usize; 2]>,
    /// 1 for gray, 3 for colour; without it, gray where all images are gray. Transparency is dropped.
    pub channels: Option<usize>,
}

/// The widest and the highest image that is decoded, in pixels.
const MAX_SIDE: u32 = 16_384;

/// The most memory that decoding one image may take, in bytes.
const MAX_DECODE: u64 = 512 << 20;

/// What most image headers fit in.
const PREFIX: usize = 16_384;

/// What the header of an image says.
#[derive(Clone, Copy)]
struct Info {
    height: usize,
    width: usize,
    gray: bool,
}

/// Classes and images, in order.
struct Listing {
    names: Vec<String>,
    labels: Vec<u32>,
    paths: Vec<PathBuf>,
}

/// What is in the folder, from its entries and, where sizes or colours must be compared, the headers of the images.
pub fn header(files: &dyn Files, root: &Path, options: &ImageFolderOptions) -> Result<Header, FormatError> {
    let listing = list(files, root)?;
    let sample_shape = sample_shape(files, root, &listing, options)?;
    Ok(dataset(root, listing, sample_shape, Vec::new()).header())
}

/// The classes alone, from the names of the files.
pub fn targets(files: &dyn Files, root: &Path) -> Result<Targets, FormatError> {
    let listing = list(files, root)?;
    Ok(Targets::Classes { labels: listing.labels, names: listing.names })
}

/// The images as bytes `[C, H, W]`; classes are the subfolders with images, sorted by name.
///
/// Resizing is bilinear over the area that a pixel covers (antialiased), in fixed point as PIL and torchvision do it: at
/// most 1 of 255 from theirs. Colour becomes gray by luminance.
pub fn load(files: &dyn Files, root: &Path, options: &ImageFolderOptions) -> Result<Dataset, FormatError> {
    let listing = list(files, root)?;
    let sample_shape = sample_shape(files, root, &listing, options)?;
    let mut pixels: Vec<u8> = Vec::new();
    let too_large = || {
        let found = format!("{} images of {sample_shape:?}", listing.paths.len());
        FormatError::malformed(root, Place::Whole, found, "as many as memory holds", "set a smaller `resize`")
    };
    let size: usize = sample_shape.iter().product();
    let total = product(&[size, listing.paths.len()]).ok_or_else(too_large)?;
    pixels.try_reserve_exact(total).map_err(|_| too_large())?;
    pixels.resize(total, 0);
    let shape = [sample_shape[0], sample_shape[1], sample_shape[2]];
    pixels
        .par_chunks_mut(size)
        .zip(&listing.paths)
        .map_init(Resizer::new, |resizer, (sample, path)| decode(files, path, shape, resizer, sample))
        .collect::<Vec<_>>()
        .into_iter()
        .collect::<Result<(), _>>()?;
    Ok(dataset(root, listing, sample_shape, pixels))
}

fn dataset(root: &Path, listing: Listing, sample_shape: Vec<usize>, pixels: Vec<u8>) -> Dataset {
    Dataset {
        samples: Samples::U8(Arc::new(pixels)),
        sample_shape,
        targets: Targets::Classes { labels: listing.labels, names: listing.names },
        columns: Vec::new(),
        origin: root.display().to_string(),
    }
}

/// The images of all classes; hidden entries and files of other kinds are passed over.
fn list(files: &dyn Files, root: &Path) -> Result<Listing, FormatError> {
    let entries = |folder: &Path| files.list(folder).map_err(|error| FormatError::unreadable(folder, error));
    let folders: Vec<PathBuf> =
        entries(root)?.into_iter().filter(|path| !is_hidden(path) && files.is_folder(path)).collect();
    if folders.is_empty() || folders.len() > MAX_CLASSES {
        let found = if folders.is_empty() { "no folders".to_string() } else { format!("{} folders", folders.len()) };
        let expected = format!("1 to {MAX_CLASSES}, one for each class");
        let help = "put the images of each class into a folder of its name";
        return Err(FormatError::malformed(root, Place::Whole, found, expected, help));
    }
    let mut listing = Listing { names: Vec::new(), labels: Vec::new(), paths: Vec::new() };
    for folder in folders {
        let images: Vec<PathBuf> = entries(&folder)?.into_iter().filter(|path| is_image(path)).collect();
        if images.is_empty() {
            let help = "add images, or remove the folder";
            return Err(FormatError::malformed(
                &folder,
                Place::Whole,
                "no images",
                "`png`, `jpg` or `jpeg` files",
                help,
            ));
        }
        listing.labels.extend(std::iter::repeat_n(listing.names.len() as u32, images.len()));
        listing.names.push(folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
        listing.paths.extend(images);
    }
    Ok(listing)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    !is_hidden(path) && ["png", "jpg", "jpeg"].iter().any(|known| extension == *known)
}

/// The one shape of all samples; looks at all headers unless both options are given.
fn sample_shape(
    files: &dyn Files,
    root: &Path,
    listing: &Listing,
    options: &ImageFolderOptions,
) -> Result<Vec<usize>, FormatError> {
    if let Some(channels) = options.channels.filter(|channels| ![1, 3].contains(channels)) {
        let help = "remove `channels`, or correct it";
        return Err(FormatError::malformed(root, Place::Whole, format!("`channels = {channels}`"), "1 or 3", help));
    }
    if let (Some([height, width]), Some(channels)) = (options.resize, options.channels) {
        return Ok(vec![channels, height, width]);
    }
    let infos: Vec<_> = listing.paths.par_iter().map(|path| read_info(files, path)).collect();
    let infos: Vec<Info> = infos.into_iter().collect::<Result<_, _>>()?;
    let first = infos[0];
    let other = infos.iter().position(|info| (info.height, info.width) != (first.height, first.width));
    if let (Some(other), None) = (other, options.resize) {
        let found = format!("{} x {} pixels", infos[other].height, infos[other].width);
        let expected =
            format!("{} x {}, as in {}", first.height, first.width, quote(&listing.paths[0].to_string_lossy()));
        let help = format!("set `resize = [{}, {}]`", first.height, first.width);
        return Err(FormatError::malformed(&listing.paths[other], Place::Whole, found, expected, help));
    }
    let channels = options.channels.unwrap_or(if infos.iter().all(|info| info.gray) { 1 } else { 3 });
    let [height, width] = options.resize.unwrap_or([first.height, first.width]);
    Ok(vec![channels, height, width])
}

/// The header of an image, from its first bytes where they hold it.
fn read_info(files: &dyn Files, path: &Path) -> Result<Info, FormatError> {
    let unreadable = |error| FormatError::unreadable(path, error);
    let prefix = files.read_prefix(path, PREFIX).map_err(unreadable)?;
    let info = |bytes: &[u8]| {
        let decoder = decoder(bytes)?;
        let (width, height) = decoder.dimensions();
        let gray = matches!(decoder.color_type(), ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16);
        Ok(Info { height: height as usize, width: width as usize, gray })
    };
    match info(&prefix) {
        Err(_) if prefix.len() == PREFIX => info(&files.read(path).map_err(unreadable)?),
        result => result,
    }
    .map_err(|error| broken(path, &error))
}

/// Decodes an image into `[C, H, W]`.
fn decode(
    files: &dyn Files,
    path: &Path,
    [channels, height, width]: [usize; 3],
    resizer: &mut Resizer,
    sample: &mut [u8],
) -> Result<(), FormatError> {
    let bytes = files.read(path).map_err(|error| FormatError::unreadable(path, error))?;
    let image = decoder(&bytes).and_then(DynamicImage::from_decoder).map_err(|error| broken(path, &error))?;
    let from = [image.height() as usize, image.width() as usize];
    let pixels = if channels == 1 { image.into_luma8().into_raw() } else { image.into_rgb8().into_raw() };
    let pixels =
        if from == [height, width] { pixels } else { resize(resizer, &pixels, channels, from, [height, width]) };
    if channels == 1 {
        sample.copy_from_slice(&pixels);
        return Ok(());
    }
    let (red, others) = sample.split_at_mut(height * width);
    let (green, blue) = others.split_at_mut(height * width);
    for (((pixel, red), green), blue) in pixels.as_chunks::<3>().0.iter().zip(red).zip(green).zip(blue) {
        [*red, *green, *blue] = *pixel;
    }
    Ok(())
}

/// Resizes an image `[H, W, C]`.
fn resize(resizer: &mut Resizer, pixels: &[u8], channels: usize, from: [usize; 2], to: [usize; 2]) -> Vec<u8> {
    let kind = if channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let source = ImageRef::new(from[1] as u32, from[0] as u32, pixels, kind).expect("an image has all its pixels");
    let mut out = Image::new(to[1] as u32, to[0] as u32, kind);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    resizer.resize(&source, &mut out, &options).expect("both images are of one kind");
    out.into_vec()
}

/// A decoder that refuses images beyond the limits.
fn decoder(bytes: &[u8]) -> Result<impl ImageDecoder + '_, ImageError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODE);
    reader.limits(limits);
    reader.into_decoder()
}

fn broken(path: &Path, error: &ImageError) -> FormatError {
    let (found, expected) = match error {
        ImageError::Limits(_) => {
            ("a very large image".to_string(), format!("at most {MAX_SIDE} x {MAX_SIDE} pixels and 512 MiB"))
        }
        ImageError::Unsupported(_) => ("another format".into(), "a PNG or JPEG image".into()),
        _ => ("a broken image".into(), "a PNG or JPEG image".into()),
    };
    FormatError::malformed(path, Place::Whole, found, expected, "replace or remove the file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Memory;
    use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};

    fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// Height 2, width 3, pixels from `start` on.
    fn gray(start: u8) -> Vec<u8> {
        encode(GrayImage::from_fn(3, 2, |x, y| Luma([start + (y * 3 + x) as u8])), ImageFormat::Png)
    }

    fn colour(width: u32, height: u32) -> Vec<u8> {
        encode(RgbImage::from_pixel(width, height, Rgb([10, 20, 30])), ImageFormat::Png)
    }

    fn read(files: &Memory, options: &ImageFolderOptions) -> Result<Dataset, FormatError> {
        let dataset = load(files, Path::new("d"), options);
        if let Ok(dataset) = &dataset {
            assert_eq!(header(files, Path::new("d"), options).unwrap(), dataset.header());
        }
        dataset
    }

    fn check_error(files: &Memory, options: &ImageFolderOptions, expected: &str) {
        assert_eq!(read(files, options).unwrap_err().to_string(), expected);
    }

    fn pixels(dataset: &Dataset) -> &[u8] {
        match &dataset.samples {
            Samples::U8(pixels) => pixels,
            Samples::F32(_) => unreachable!("images are bytes"),
        }
    }

    #[test]
    fn classes_are_sorted_and_gray_stays_gray() {
        let files = Memory::new()
            .with("d/dog/1.PNG", gray(20))
            .with("d/cat/2.png", gray(10))
            .with("d/cat/1.png", gray(0))
            .with("d/cat/notes.txt", "")
            .with("d/.git/x", "")
            .with("d/readme.md", "");
        let dataset = read(&files, &ImageFolderOptions::default()).unwrap();
        assert_eq!(dataset.sample_shape, [1, 2, 3]);
        assert_eq!(pixels(&dataset), [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 24, 25]);
        let names = vec!["cat".to_string(), "dog".into()];
        assert_eq!(dataset.targets, Targets::Classes { labels: vec![0, 0, 1], names });
    }

    #[test]
    fn colour_is_channels_first_and_wins_over_gray() {
        let files = Memory::new().with("d/a/1.png", colour(3, 2)).with("d/b/1.png", gray(7));
        let dataset = read(&files, &ImageFolderOptions::default()).unwrap();
        assert_eq!(dataset.sample_shape, [3, 2, 3]);
        assert_eq!(pixels(&dataset)[..18], [[10; 6], [20; 6], [30; 6]].concat());
        assert_eq!(pixels(&dataset)[18..], [7, 8, 9, 10, 11, 12].repeat(3));
        let options = ImageFolderOptions { channels: Some(1), resize: None };
        assert_eq!(read(&files, &options).unwrap().sample_shape, [1, 2, 3]);
    }

    #[test]
    fn resizing_averages_what_a_pixel_covers() {
        let stripes = GrayImage::from_fn(64, 64, |x, _| Luma([if x % 2 == 0 { 0 } else { 200 }]));
        let files = Memory::new()
            .with("d/a/1.png", encode(stripes, ImageFormat::Png))
            .with("d/a/2.jpg", encode(GrayImage::from_pixel(9, 5, Luma([100])), ImageFormat::Jpeg));
        let options = ImageFolderOptions { resize: Some([4, 8]), channels: None };
        let dataset = read(&files, &options).unwrap();
        assert_eq!(dataset.sample_shape, [1, 4, 8]);
        assert!(pixels(&dataset).iter().all(|value| value.abs_diff(100) <= 8), "{:?}", pixels(&dataset));
    }

    /// Answers of torchvision's `resize(…, antialias=True)` for bytes; `tests/oracle/freeze_images.py` made them.
    #[test]
    fn resizing_agrees_with_torchvision() {
        let cases: serde_json::Value = serde_json::from_str(include_str!("../../tests/golden/resize.json")).unwrap();
        let numbers = |value: &serde_json::Value| -> Vec<usize> {
            value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect()
        };
        for case in cases.as_array().unwrap() {
            let [shape, to] = [numbers(&case["shape"]), numbers(&case["to"])];
            let (before, expected) = (numbers(&case["pixels"]), numbers(&case["resized"]));
            let value = |channel: usize, x: u32, y: u32| {
                before[(channel * shape[1] + y as usize) * shape[2] + x as usize] as u8
            };
            let [height, width] = [shape[1] as u32, shape[2] as u32];
            let png = if shape[0] == 1 {
                encode(GrayImage::from_fn(width, height, |x, y| Luma([value(0, x, y)])), ImageFormat::Png)
            } else {
                let pixel = |x, y| Rgb([value(0, x, y), value(1, x, y), value(2, x, y)]);
                encode(RgbImage::from_fn(width, height, pixel), ImageFormat::Png)
            };
            let options = ImageFolderOptions { resize: Some([to[0], to[1]]), channels: None };
            let dataset = read(&Memory::new().with("d/a/1.png", png), &options).unwrap();
            assert_eq!(dataset.sample_shape, [shape[0], to[0], to[1]]);
            assert_eq!(pixels(&dataset).len(), expected.len());
            for (at, (ours, theirs)) in pixels(&dataset).iter().zip(&expected).enumerate() {
                assert!(ours.abs_diff(*theirs as u8) <= 1, "{shape:?} to {to:?}, at {at}: {ours}, not {theirs}");
            }
        }
    }

    #[test]
    fn unfit_images_are_named() {
        let any = &ImageFolderOptions::default();
        let files = Memory::new().with("d/a/1.png", gray(0)).with("d/a/2.png", colour(4, 4));
        check_error(
            &files,
            any,
            "`d/a/2.png`: found 4 x 4 pixels, expected 2 x 3, as in `d/a/1.png`; set `resize = [2, 3]`",
        );
        let files = Memory::new().with("d/a/1.png", "no image");
        let both = &ImageFolderOptions { resize: Some([2, 2]), channels: Some(3) };
        for options in [any, both] {
            check_error(
                &files,
                options,
                "`d/a/1.png`: found another format, expected a PNG or JPEG image; replace or remove the file",
            );
        }
        let whole = gray(0);
        let files = Memory::new().with("d/a/1.png", &whole[..whole.len() / 2]);
        check_error(
            &files,
            both,
            "`d/a/1.png`: found a broken image, expected a PNG or JPEG image; replace or remove the file",
        );
        let mut bomb = gray(0);
        bomb[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        let checksum = flate2_crc(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&checksum.to_be_bytes());
        check_error(
            &Memory::new().with("d/a/1.png", bomb),
            any,
            "`d/a/1.png`: found a very large image, expected at most 16384 x 16384 pixels and 512 MiB; \
             replace or remove the file",
        );
        let bad = ImageFolderOptions { channels: Some(2), resize: None };
        check_error(
            &Memory::new().with("d/a/1.png", gray(0)),
            &bad,
            "`d`: found `channels = 2`, expected 1 or 3; remove `channels`, or correct it",
        );
    }

    fn flate2_crc(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }

    #[test]
    fn unfit_folders_are_named() {
        let any = &ImageFolderOptions::default();
        check_error(&Memory::new(), any, "could not read `d`");
        check_error(
            &Memory::new().with("d/1.png", gray(0)),
            any,
            "`d`: found no folders, expected 1 to 65536, one for each class; \
             put the images of each class into a folder of its name",
        );
        check_error(
            &Memory::new().with("d/a/notes.txt", ""),
            any,
            "`d/a`: found no images, expected `png`, `jpg` or `jpeg` files; add images, or remove the folder",
        );
    }

    #[test]
    fn no_truncation_panics() {
        let jpeg = encode(RgbImage::from_pixel(8, 8, Rgb([1, 2, 3])), ImageFormat::Jpeg);
        for image in [gray(0), jpeg] {
            for end in 0..image.len() {
                let files = Memory::new().with("d/a/1.png", &image[..end]);
                let result = read(&files, &ImageFolderOptions::default());
                assert!(result.is_err() || end > image.len() / 2, "cut at {end}");
            }
        }
    }
}
